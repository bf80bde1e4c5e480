# What the programs of a release share.
set -eu

out=$(cd .. && pwd)/out/release
input=$(cat)

# A text in the input. The header of release.rhai lets versions and servers be made of harmless characters only.
field() {
    printf '%s' "$input" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'
}

# What goes wrong for good: the last line on stderr is the message of the error.
fail() {
    echo "$1" >&2
    exit 1
}

# Replaces a file at once, so that nobody ever sees half of it: the new text comes on standard input.
replace() {
    mkdir -p "$(dirname "$1")"
    cat > "$1.new.$$"
    mv -f "$1.new.$$" "$1"
}

checksum() {
    if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}
