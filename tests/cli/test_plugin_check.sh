# lamina plugin check: the sample plugins pass, every broken one is found, with the reason, and one
# that crashes is named.
. "$SOURCE/tests/cli/support.sh"

for plugin in "$PLUGINS"/*.so; do
    expect 0 "$LAMINA" plugin check "$plugin"
    says out 'PASSED: '
    ! grep 'FAIL' out >/dev/null || fail "$plugin: passed with failures"
done

# Each plugin in the folder breaks the contract in the way that its name says.
broken=0
for plugin in "$PLUGINS"/broken/*.so; do
    case $plugin in
    */taken_name.so) continue ;; # wrong only beside another plugin
    */shared_buffer.so) [ "$(nproc)" -gt 1 ] || continue ;; # shards must really run at once
    esac
    broken=$((broken + 1))
    expect 1 "$LAMINA" plugin check "$plugin"
    grep FAIL out >/dev/null || [ -s err ] || fail "$plugin: no reason was given"
done
[ "$broken" -ge 20 ] || fail "only $broken broken plugins were there to be found"

"$LAMINA" plugin check "$PLUGINS/broken/wrong_backward.so" >out
says out '  FAIL  gradient'
says out 'FAILED: 1 type, 2 cases'
"$LAMINA" plugin check "$PLUGINS/broken/leaves_unwritten.so" >out
says out 'does not write out[0]'
"$LAMINA" plugin check "$PLUGINS/broken/newer_abi.so" 2>err
says err 'update Lamina'

# One that takes its process down does not take the command down.
misbehaves=$PLUGINS/test/misbehaves.so
expect 0 "$LAMINA" plugin check "$misbehaves" --type test.good
says out '1 type, 1 case'
expect 1 "$LAMINA" plugin check "$misbehaves" --type test.crashes
says out 'crashed'
says out 'test.crashes'
expect 1 "$LAMINA" plugin check "$misbehaves" --type test.leaves
says out 'exit(0)'
expect 1 "$LAMINA" plugin check "$misbehaves" --type test.no_cases
says out 'it has none'
expect 0 "$LAMINA" plugin check "$misbehaves" --type test.no_cases --case '{input: [2, 3, 5, 4]}'
expect 1 "$LAMINA" plugin check "$misbehaves" --type test.good --case '{input: nonsense}'
says out 'FAIL  case'

# In a run it does, which then says what to look at.
config run.yaml
sed "1s|^|plugins: [$misbehaves]\n|; s|  - relu|  - test.crashes|" run.yaml >crash.yaml
"$LAMINA" train crash.yaml --quiet >out 2>err
[ $? -gt 128 ] || fail "a crash of a plugin is no crash"
says err "lamina plugin check $misbehaves"
sed -i 's|test.crashes|test.good|' crash.yaml
expect 0 "$LAMINA" train crash.yaml --quiet --overwrite

# What is no plugin at all.
echo text >text.so
expect 1 "$LAMINA" plugin check text.so
says err 'text.so'
expect 1 "$LAMINA" plugin check none.so
says err 'none.so: No such file'
expect 2 "$LAMINA" plugin check "$misbehaves" --type test.none
expect 2 "$LAMINA" plugin
expect 2 "$LAMINA" plugin look "$misbehaves"

finish
