# Builds a version: puts its number into the program.
. release/lib.sh

version=$(field version)
file=$out/build/$version/greet
sed "s/^VERSION=.*/VERSION=$version/" release/app/greet.sh | replace "$file"
echo "built $file" >&2
printf '{"file":"%s"}\n' "$file"
