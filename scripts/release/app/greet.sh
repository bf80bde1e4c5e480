# The program that is released: it greets, and it knows whether the folder it serves from has room.
VERSION=dev

case ${1:-world} in
    version) echo "$VERSION" ;;
    health)
        [ ! -e "$2/full" ] || { echo "no room left"; exit 1; }
        echo "$VERSION is well"
        ;;
    *) echo "Hello, ${1:-world}!" ;;
esac
