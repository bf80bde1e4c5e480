# What can be done with a server, which is a folder: releases/VERSION/greet, and a file `current` with the version that runs.
. release/lib.sh

server=$(field server)
home=$out/servers/$server
mkdir -p "$home"

# The history says what was done, once for each idempotency key: attempts may be repeated.
activate() {
    printf '%s\n' "$1" | replace "$home/current"
    grep -q "^$DURHAI_IDEMPOTENCY_KEY " "$home/history" 2> /dev/null ||
        echo "$DURHAI_IDEMPOTENCY_KEY ${1:-nothing}" >> "$home/history"
    echo "$server runs ${1:-nothing}" >&2
}

case $1 in
    current)
        version=$(cat "$home/current" 2> /dev/null || true)
        printf '{"server":"%s","version":"%s"}\n' "$server" "$version"
        ;;
    deploy)
        version=$(field version)
        target=$home/releases/$version/greet
        replace "$target" < "$(field file)"
        found=$(checksum "$target")
        [ "$found" = "$(field sha256)" ] || fail "$target has the checksum $found, expected $(field sha256)"
        activate "$version"
        ;;
    activate)
        activate "$(field version)"
        ;;
    health)
        version=$(cat "$home/current")
        # 75: not yet. Asked again as often as durhai.toml says.
        said=$(sh "$home/releases/$version/greet" health "$home" 2>&1) || { echo "$server: $said" >&2; exit 75; }
        printf '{"server":"%s","says":"%s"}\n' "$server" "$said"
        ;;
esac
