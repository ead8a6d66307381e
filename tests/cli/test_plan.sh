# Plans by measurement: measured once, shared by runs, recorded in checkpoints, never an error.
. "$SOURCE/tests/cli/support.sh"

config run.yaml
sed -i 's/batch: 16/batch: 24/' run.yaml # room for slices; the last batch has 8 samples

# The first run measures and says so, the second finds the plan; both come to the same bits.
expect 0 "$LAMINA" train run.yaml --out first --threads 2
says err 'measuring kernels for this machine (once)...'
[ "$(ls cache/*.plan | wc -l)" -eq 1 ] || fail "not one plan: $(ls -a cache)"
expect 0 "$LAMINA" train run.yaml --out second --threads 2
[ ! -s err ] || fail "the second run says: $(cat err)"
same_run first second
[ "$(ls -A cache | wc -l)" -eq 1 ] || fail "not one file: $(ls -a cache)"

# A plan with slices, as another machine may have measured it. summary and dump use it, too.
plan=$(ls cache/*.plan)
body() { sed -n '2,$p' "$plan" | sed 's/^cut .*/cut 2 4 0/'; }
crc() { gzip -c | tail -c8 | od -An -N4 -tx4 | tr -d ' '; }
if command -v gzip >/dev/null; then
    { echo "lamina plan 2 crc32=$(body | crc)"; body; } >sliced && mv sliced "$plan"
    expect 0 "$LAMINA" summary run.yaml --threads 2
    says out 'cut into 8 for 2 threads'
    expect 0 "$LAMINA" train run.yaml --out sliced --threads 2
    says out '2 shards of 4 slices on 2 threads'
    # A checkpoint's plan wins over the cache, over a cache that is gone, and over other threads.
    expect 0 "$LAMINA" train run.yaml --out cut --threads 2 --set train.max_steps=5
    rm -r cache
    expect 0 "$LAMINA" train run.yaml --out cut --threads 2 --resume --set train.max_steps=11
    says out '2 shards of 4 slices on 2 threads'
    [ ! -s err ] || fail "resume says: $(cat err)"
    expect 0 "$LAMINA" train run.yaml --out cut --threads 1 --resume
    says out '2 shards of 4 slices on 1 thread'
    same_run sliced cut
    [ ! -e cache ] || fail "a resume measured"
    expect 0 "$LAMINA" checkpoint show cut/checkpoints/last.h5
    says out '2 shards of 4 slices'
    expect 0 "$LAMINA" checkpoint diff cut/checkpoints/last.h5 sliced/checkpoints/last.h5
    expect 1 "$LAMINA" checkpoint diff cut/checkpoints/last.h5 first/checkpoints/last.h5
    expect 0 "$LAMINA" test cut/checkpoints/last.h5 --quiet
    [ ! -e cache ] || fail "a test with the checkpoint's plan measured"

    # The same with a layer that is called on the whole batch: its threads stay as they were.
    expect 0 "$LAMINA" train run.yaml --out third --threads 2 --quiet
    plan=$(ls cache/*.plan)
    body() { sed -n '2,$p' "$plan" | sed 's/^cut .*/cut 2 4 0/; s/^layer fc1 [a-z]*/layer fc1 batch/'; }
    { echo "lamina plan 2 crc32=$(body | crc)"; body; } >whole && mv whole "$plan"
    expect 0 "$LAMINA" train run.yaml --out whole --threads 2 --quiet
    expect 0 "$LAMINA" train run.yaml --out half --threads 2 --set train.max_steps=5 --quiet
    rm -r cache
    expect 0 "$LAMINA" checkpoint show half/checkpoints/last.h5
    says out 'fc1 (linear), on the whole batch: '
    expect 0 "$LAMINA" train run.yaml --out half --resume
    says out '2 shards of 4 slices on 2 threads'
    same_run whole half
    expect 1 "$LAMINA" checkpoint diff half/checkpoints/last.h5 sliced/checkpoints/last.h5
    says out 'note: other layers are called on the whole batch'
fi

# A cache that is damaged, is no folder, or is nowhere, is no matter.
expect 0 "$LAMINA" train run.yaml --out again --quiet
echo damaged >"$(ls cache/*.plan)"
expect 0 "$LAMINA" train run.yaml --out damaged
says err 'measuring kernels'
rm -r cache
echo file >cache
expect 0 "$LAMINA" train run.yaml --out nofolder
says err 'measuring kernels'
says err 'the plan cannot be kept in '
expect 0 env -u HOME -u XDG_CACHE_HOME -u LAMINA_CACHE "$LAMINA" train run.yaml --out nohome --quiet
expect 0 env LAMINA_CACHE= "$LAMINA" train run.yaml --out none --quiet
rm cache
expect 0 env -u LAMINA_CACHE XDG_CACHE_HOME="$folder/xdg" "$LAMINA" train run.yaml --out xdg --quiet
[ "$(ls xdg/lamina/*.plan | wc -l)" -eq 1 ] || fail "no plan in XDG_CACHE_HOME"

# What was measured can be seen.
rm -rf cache
expect 0 env LAMINA_DEBUG=1 "$LAMINA" train run.yaml --out debug
says err 'plan: chosen: '

# summary and dump do not measure.
rm -rf cache
expect 0 "$LAMINA" summary run.yaml
expect 0 "$LAMINA" dump run.yaml -o dump.h5
[ ! -e cache ] || fail "summary or dump measured"

# Forced kernels are as before.
expect 0 "$LAMINA" train run.yaml --out forced --kernels reference
says out 'kernels reference: conv1'

finish
