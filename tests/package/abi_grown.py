"""abi_grown.py OLD NEW OUT: writes the description NEW to OUT, structures that have grown as they may cut back
to what OLD has of them. A structure that begins with struct_size may have new fields behind its old end: the
library knows from struct_size whether a caller has them. (A new field in what was padding it could not tell from
garbage.)"""
import sys
import xml.etree.ElementTree as tree


def fields(structure):
    return structure.findall("data-member")


def names(members):
    return [member.find("var-decl").get("name") for member in members]


def structures(description):
    """Name and element of each structure whose fields are shown and that says its size itself."""
    for element in description.iter("class-decl"):
        if names(fields(element))[:1] == ["struct_size"]:
            yield element.get("name"), element


def cut(structure, like):
    """Takes from the structure what lies behind the end of its like, if the rest has the same fields by name."""
    size = like.get("size-in-bits")
    behind = [field for field in fields(structure)
              if int(field.get("layout-offset-in-bits")) >= int(size)]
    kept = [field for field in fields(structure) if field not in behind]
    if behind and names(kept) == names(fields(like)):
        for field in behind:
            structure.remove(field)
        structure.set("size-in-bits", size)


def main(old_path, new_path, out_path):
    old = dict(structures(tree.parse(old_path).getroot()))
    new = tree.parse(new_path)
    for name, structure in structures(new.getroot()):
        if name in old:
            cut(structure, old[name])
    new.write(out_path)


main(*sys.argv[1:])
