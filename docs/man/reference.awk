# reference.awk include/sparsenet.h: the reference part of sparsenet(3), in mdoc(7).
#
# The header documents every function; this turns it into a manual page, so that both always say the
# same. It knows the header's own layout: a section is a comment of one line with dashes, a declaration
# begins in the first column, and the comment in front of one is its own; what follows without a comment
# needs none.

# One line of text, so that no macro or escape begins in it.
function plain(text) {
    gsub(/\\/, "\\e", text)
    gsub(/docs\/formats\.md/, "sparsenet-formats(5)", text)
    if (text ~ /^[.']/)
        text = "\\&" text
    return text
}

# A macro's argument, which may have spaces and must not be taken for a macro.
function argument(text) {
    gsub(/"/, "\"\"", text)
    return "\"" text "\""
}

# Text to be filled: mdoc wants each sentence to begin a line.
function print_text(text,    sentence) {
    while (match(text, /[^ ][.!?]["')]? +[A-Z"`(]/)) {
        sentence = substr(text, 1, RSTART + RLENGTH - 2)
        text = substr(text, RSTART + RLENGTH - 1)
        sub(/ +$/, "", sentence)
        print plain(sentence)
    }
    print plain(text)
}

# The comment's lines as a paragraph; those indented further, lists and tables, stay as they are.
function print_comment(    i, literal, text) {
    for (i = 1; i <= n_comment; i++) {
        text = comment[i]
        if ((text ~ /^  /) != literal) {
            literal = !literal
            print literal ? ".Bd -literal" : ".Ed"
        }
        if (literal)
            print plain(text)
        else
            print_text(text)
    }
    if (literal)
        print ".Ed"
    n_comment = 0
}

function open_list() {
    if (!in_list)
        print ".Bl -tag -width Ds"
    in_list = 1
    at_top = 0
}

function close_list() {
    if (in_list)
        print ".El"
    in_list = 0
}

# SN_API type name(arguments); as the head of an item.
function print_head(declaration,    open, front, name, rest, type, n, part, i) {
    sub(/^SN_API /, "", declaration)
    sub(/\);$/, "", declaration)
    open = index(declaration, "(")
    front = substr(declaration, 1, open - 1)
    rest = substr(declaration, open + 1)
    match(front, /sn_[a-z0-9_]+$/)
    name = substr(front, RSTART)
    type = substr(front, 1, RSTART - 1)
    sub(/ $/, "", type)
    print ".It Xo"
    print ".Ft " argument(type)
    print ".Fo " name
    n = split(rest, part, /, */)
    for (i = 1; i <= n; i++)
        print ".Fa " argument(part[i])
    print ".Fc"
    print ".Xc"
}

# What has been gathered: heads with their comment, or the comment and the lines of code under it.
function flush(    i) {
    if (n_heads) {
        open_list()
        for (i = 1; i <= n_heads; i++) {
            print_head(head[i])
            print_comment() # of the first; then there is none left
        }
    } else if (n_comment || n_code) {
        close_list()
        if (!at_top && n_comment)
            print ".Pp"
        at_top = 0
        print_comment()
        if (n_code) {
            print ".Bd -literal"
            for (i = 1; i <= n_code; i++)
                print plain(code[i])
            print ".Ed"
        }
    }
    n_heads = n_code = n_comment = 0
}

function section(line) {
    flush()
    close_list()
    if (line ~ /===/)
        return
    gsub(/^\/\* -+ | *\*\/$/, "", line)
    print ".Ss " toupper(substr(line, 1, 1)) substr(line, 2)
    started = at_top = 1
}

# A comment that begins here, with its lines up to the one that ends it.
function read_comment(line,    last) {
    n_comment = 0
    sub(/^\/\* ?/, "", line)
    for (;;) {
        last = line ~ /\*\/$/
        sub(/ *\*\/$/, "", line)
        comment[++n_comment] = line
        if (last || (getline line) <= 0)
            return
        sub(/^ \* ?/, "", line)
    }
}

function joined_declaration(line,    more) {
    while (line !~ /;$/ && (getline more) > 0) {
        sub(/^ +/, " ", more)
        line = line more
    }
    return line
}

# Lines of one typedef, up to the semicolon outside its braces.
function read_code(line,    depth) {
    for (;;) {
        code[++n_code] = line
        depth += gsub(/\{/, "{", line) - gsub(/\}/, "}", line)
        if ((depth == 0 && line ~ /;( *\/\*.*)?$/) || (getline line) <= 0)
            return
    }
}

/^\/\* (--|==).*\*\/$/ { section($0); next }
!started { next }
/^#ifdef __cplusplus/ { exit }
/^$/ { flush(); next }
/^\/\*/ { flush(); read_comment($0); next }
/^SN_API/ {
    if (n_code)
        flush()
    head[++n_heads] = joined_declaration($0)
    next
}
/^#define/ || /^typedef/ {
    if (n_heads)
        flush()
    read = /^typedef/
    if (read)
        read_code($0)
    else
        code[++n_code] = $0
    next
}
{ print "reference.awk: line " FNR " is none that it knows: " $0 > "/dev/stderr"; failed = 1; exit }

END {
    if (!failed) {
        flush()
        close_list()
    }
    exit failed
}
