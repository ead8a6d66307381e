# The generated pages of the manual are those that the tables make today.
. "$SOURCE/tests/cli/support.sh"

# page NAME OPTION
page() {
    expect 0 "$LAMINA" layers "$2"
    cmp -s out "$SOURCE/docs/$1.md" ||
        fail "docs/$1.md is stale, \"./dev docs\" makes it again: $(diff "$SOURCE/docs/$1.md" out | head -5)"
}
page layers --markdown
page config --sections

# Every type has its section and its line in the index; a plugin's, too.
expect 0 "$LAMINA" layers
types=$(sed -n '/^$/q; s/ .*//p' out)
[ "$(echo "$types" | wc -l)" -gt 10 ] || fail "lamina layers lists too few types: $types"
expect 0 "$LAMINA" layers --markdown
for type in $types; do
    says out "### \`$type\`"
    says out "[\`$type\`](#$type)"
done
expect 0 "$LAMINA" layers --markdown --plugin "$PLUGINS/mish.so"
says out '## From plugins'
says out '### `sample.mish`'

# The examples are what a config can say: one of conv in a network of its own.
example=$(sed -n 's/^| `\(- conv: [^`]*\)`.*/\1/p' out | head -1)
cat >example.yaml <<END
data:
  train: {type: synthetic, samples: 20, channels: 3, height: 6, width: 5, classes: 4}
network:
  $example
  - linear: {units: 4}
  - softmax_loss
train: {epochs: 1, batch: 10, optimizer: {type: sgd, learning_rate: 0.01}}
END
expect 0 "$LAMINA" summary example.yaml

finish
