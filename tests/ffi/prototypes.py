"""Every declaration in a binding stands in the header as it is: prototypes.py HEADER BINDING...

Prints how many each has, and fails on the first that the header does not have."""
import re
import sys


def words(text):
    """Without comments, and with one space between words."""
    return re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", text, flags=re.S)).strip()


def prototypes(text):
    return re.findall(r"(?:const )?\w+ \*?sn_\w+\([^()]*\);", words(text))


header = set(prototypes(open(sys.argv[1]).read().replace("SN_API", "")))
wrong = 0
for path in sys.argv[2:]:
    text = open(path).read()
    # The text between the first two marks that a string of many lines has in Python or JavaScript.
    declared = prototypes(
        re.search(r'(?:_PROTOTYPES = """|prototypes = `)(.*?)(?:"""|`)', text, re.S)[1]
    )
    unknown = [one for one in declared if one not in header]
    print(f"{path}: {len(declared)} of the header's {len(header)} functions")
    for one in unknown:
        print(f"{path}: not in {sys.argv[1]}: {one}")
    wrong += len(unknown) + (not declared)
sys.exit(wrong > 0)
