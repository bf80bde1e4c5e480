# Tests the sources.
. release/lib.sh

expect() {
    found=$(sh release/app/greet.sh "$1")
    [ "$found" = "$2" ] || fail "greet $1 says \"$found\", expected \"$2\""
    echo "greet $1: ok" >&2
}

expect Ada "Hello, Ada!"
expect version dev
echo '{"passed":2}'
