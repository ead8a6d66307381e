# Several losses, regression, metrics: what train and test say of them, and what is refused.
. "$SOURCE/tests/cli/support.sh"

config labels.yaml

# numbers NAME: writes NAME, a small regression.
numbers() {
    cat >"$1" <<'END'
seed: 3
data:
  train: {type: synthetic, samples: 200, height: 6, width: 6, targets: 3}
  test: {type: synthetic, samples: 50, first: 200, height: 6, width: 6, targets: 3}
network:
  - linear: {name: fc1, units: 12}
  - tanh
  - linear: {name: fc2, units: 3}
  - mse_loss: {name: squares}
  - mean_absolute_error: {name: mae}
train:
  epochs: 3
  batch: 16
  log_every: 1
  optimizer: {type: sgd, learning_rate: 0.1, momentum: 0.9}
END
}
numbers numbers.yaml

# ---- Regression: no accuracy, the best is the lowest loss ----
expect 0 "$LAMINA" train numbers.yaml --out regression --threads 2
says out 'epoch      step  train loss   test loss       mae  learn rate  images/s   seconds'
says out 'done: best loss 0.'
! grep -e '%' out >/dev/null || fail "an accuracy without labels: $(cat out)"
[ "$(grep -c '"event":"epoch".*"test_accuracy":null,.*,"test_mae":0\.[0-9]*}$' regression/metrics.jsonl)" -eq 3 ] ||
    fail "metrics.jsonl: $(grep epoch regression/metrics.jsonl | head -1)"
# The last epoch has the lowest loss here, so best.h5 is that of it.
expect 0 "$LAMINA" test regression/checkpoints/best.h5
loss=$(sed -n 's/.*"epoch":3,.*"test_loss":\([0-9.]*\).*/\1/p' regression/metrics.jsonl)
mae=$(sed -n 's/.*"epoch":3,.*"test_mae":\([0-9.]*\).*/\1/p' regression/metrics.jsonl)
says out "50 samples, loss $(echo "$loss" | awk '{printf "%.6g", $1}')"
says out "mae (mean_absolute_error): $(echo "$mae" | awk '{printf "%.6g", $1}')"
! grep -e confusion -e accuracy -e '^ class' out >/dev/null || fail "classes without labels"
expect 0 "$LAMINA" checkpoint show regression/checkpoints/last.h5
says out 'best        loss 0.'
says out ', mae 0.'
# In pieces it is the same run, to the bit.
expect 0 "$LAMINA" train numbers.yaml --out pieces --threads 2 --quiet --set train.max_steps=20
expect 0 "$LAMINA" train numbers.yaml --out pieces --threads 2 --quiet --resume
same_run regression pieces
expect 0 "$LAMINA" dump numbers.yaml -o dump.h5
expect 0 "$LAMINA" profile numbers.yaml --steps 5 --threads 1
! grep -e '^mae' out >/dev/null || fail "a metric in a profile of training"
expect 0 "$LAMINA" summary numbers.yaml
idx='{type: idx, images: none, targets: none}'
expect 0 "$LAMINA" summary numbers.yaml --set data.train="$idx" --set data.test="$idx" --input 1x6x6 --target 3
expect 2 "$LAMINA" summary numbers.yaml --set data.train="$idx" --set data.test="$idx" --input 1x6x6
says err 'mse_loss): compares numbers, but the data has labels'
expect 2 "$LAMINA" summary numbers.yaml --target 3
says err '--target goes with --input'
expect 2 "$LAMINA" summary numbers.yaml --input 1x6x6 --target 3x
says err 'a size such as 3 or 1x28x28, got "3x"'

# ---- Numbers from a file ----
{ printf '\000\000\010\003\000\000\000\006\000\000\000\002\000\000\000\002'; printf 'abcdefghijklmnopqrstuvwx'; } >images.idx
{ printf '\000\000\015\001\000\000\000\006'; for i in 1 2 3 4 5 6; do printf '\077\200\000\000'; done; } >targets.idx
sed 's/^  train:.*/  train: {type: idx, images: images.idx, targets: targets.idx}/; /^  test:/d; s/units: 3/units: 1/' numbers.yaml >file.yaml
expect 0 "$LAMINA" train file.yaml --out file
says out 'train loss   test loss  learn rate'
says out 'done: best loss'
sed 's/, targets: targets.idx/, labels: targets.idx/' file.yaml >broken.yaml
expect 1 "$LAMINA" train broken.yaml --out broken
says err 'targets.idx: holds 32-bit floating-point numbers (type 0x0d); convert it to unsigned bytes'
sed 's/, targets: targets.idx//' file.yaml >broken.yaml
expect 2 "$LAMINA" train broken.yaml --out broken
says err 'broken.yaml:3:10: error: data.train (idx): needs "labels" or, for regression, "targets"'

# ---- Several losses, metrics, classes ----
sed 's/  - softmax_loss/  - softmax_loss: {name: ce, loss_weight: 2, label_smoothing: 0.1, class_weights: [1, 2, 1, 1]}\
  - hinge_loss: {name: margin, from: fc1, loss_weight: 0.5}\
  - accuracy: {name: top2, top: 2}/' labels.yaml >several.yaml
expect 0 "$LAMINA" train several.yaml --out several --threads 2
says out 'test loss  test acc      top2  learn rate'
expect 0 "$LAMINA" test several/checkpoints/last.h5
says out ', accuracy '
says out 'ce (softmax_loss, weight 2): '
says out 'margin (hinge_loss, weight 0.5): '
says out 'top2 (accuracy): '
# The loss is the weighted sum.
awk '/samples,/ { sub(/.*loss /, ""); whole = $1 } /^ce / { ce = $NF } /^margin / { margin = $NF }
    END { d = whole - 2 * ce - 0.5 * margin; exit !(whole > 0 && d < 1e-5 && d > -1e-5) }' out ||
    fail "the loss is not the sum of its parts: $(head -5 out)"
says out ' class   samples   correct  precision    recall'
# Samples of the classes are all samples, and the correct ones are those of the accuracy.
awk '/samples,/ { for (i = 1; i < NF; i++) if ($(i + 1) == "wrong),") { wrong = substr($i, 2) } }
    /^ class/ { table = 1 } /^$/ { table = 0 } table && $1 != "class" { n += $2; right += $3 }
    END { exit !(n == 50 && right == 50 - wrong) }' out || fail "the classes do not add up: $(cat out)"
expect 0 "$LAMINA" test several/checkpoints/last.h5 --quiet
[ "$(wc -l <out)" -eq 1 ] || fail "--quiet: more than one line"
grep '"test_top2":[01]' several/metrics.jsonl >/dev/null || fail "no test_top2 in metrics.jsonl"

# ---- Weighted means: those of a split do not depend on how it is cut into batches ----
sed 's/units: 4/units: 4, learning_rate_scale: 0/; s/filters: 4/filters: 4, learning_rate_scale: 0/
    s/- softmax_loss/- softmax_loss: {class_weights: [1, 9, 0.5, 1], ignore_label: 3}/' labels.yaml >weighted.yaml
for batch in 7 16 200; do
    expect 0 "$LAMINA" train weighted.yaml --out "by$batch" --quiet --epochs 1 --set train.batch=$batch
    sed -n 's/.*"train_loss":\([0-9.]*\),"test_loss":\([0-9.]*\),.*/\1 \2/p' "by$batch/metrics.jsonl" >"by$batch.means"
    expect 0 "$LAMINA" test "by$batch/checkpoints/last.h5" --quiet
    awk 'FNR == 1 { file++ } file == 1 { train = $1; test = $2 } file == 2 { first = $1; second = $2 }
        file == 3 { for (i = 1; i < NF; i++) if ($i == "loss") told = $(i + 1) }
        END { a = train / first - 1; b = test / second - 1; c = told / second - 1
              exit !(first > 0 && second > 0 && a * a < 1e-12 && b * b < 1e-12 && c * c < 1e-10) }' \
        "by$batch.means" by7.means out || fail "batches of $batch: $(cat "by$batch.means" by7.means out)"
done
# The sums of half an epoch are in the checkpoint.
sed -i 's/, learning_rate_scale: 0//' weighted.yaml
expect 0 "$LAMINA" train weighted.yaml --out straight --threads 2 --quiet
expect 0 "$LAMINA" train weighted.yaml --out halves --threads 2 --quiet --set train.max_steps=20
expect 0 "$LAMINA" train weighted.yaml --out halves --threads 2 --quiet --resume
same_run straight halves

# ---- No label that counts: no loss, no accuracy, and a word of it ----
sed 's/classes: 4/classes: 1/; s/- softmax_loss/- softmax_loss: {ignore_label: 0}\
  - accuracy: {name: top1, ignore_label: 0}/' labels.yaml >nothing.yaml
expect 0 "$LAMINA" train nothing.yaml --out nothing --threads 1
says err 'every label of the test split is one that layer "softmax_loss1" ignores: there is no accuracy, so no epoch is the best'
[ "$(grep -c 'no epoch is the best' err)" -eq 1 ] || fail "warned more than once"
! grep -i nan out >/dev/null || fail "NaN in the table: $(cat out)"
[ "$(awk '$1 == 2 && $3 == "-" && $4 == "-" && $5 == "-" && $6 == "-"' out | wc -l)" -eq 1 ] || fail "no row of -: $(cat out)"
[ "$(grep -c '"train_loss":null,"test_loss":null,"test_accuracy":null' nothing/metrics.jsonl)" -eq 2 ] ||
    fail "metrics.jsonl: $(grep epoch nothing/metrics.jsonl | tail -1)"
[ ! -e nothing/checkpoints/best.h5 ] || fail "a best epoch without an accuracy"
expect 0 "$LAMINA" test nothing/checkpoints/last.h5
says out 'accuracy - (0 wrong), loss -'
says out 'top1 (accuracy): -'
! grep -i nan out >/dev/null || fail "NaN in lamina test: $(cat out)"
expect 0 "$LAMINA" checkpoint show nothing/checkpoints/last.h5
says out 'loss -, top1 -'

# ---- What does not fit ----
sed 's/, targets: 3}/}/' numbers.yaml >broken.yaml
expect 2 "$LAMINA" train broken.yaml --out broken
says err 'broken.yaml:9:5: error: layer "squares" (mse_loss): compares numbers, but the data has labels as targets'
sed 's/softmax_loss/nll_loss/; s/classes: 4/targets: 4/' labels.yaml >broken.yaml
expect 2 "$LAMINA" train broken.yaml --out broken
says err 'layer "nll_loss1" (nll_loss): needs labels, but the data has numbers as targets'
sed 's/units: 3}/units: 4}/' numbers.yaml >broken.yaml
expect 2 "$LAMINA" train broken.yaml --out broken
says err 'the prediction is [N, 4], the target [N, 3]'
sed 's/first: 200, height: 6, width: 6, targets: 3/first: 200, height: 6, width: 6/' numbers.yaml >broken.yaml
expect 1 "$LAMINA" train broken.yaml --out broken
says err 'has labels as targets, but synthetic'
says err 'has numbers [200, 3]; both splits need the same'
sed 's/  - softmax_loss/  - softmax_loss\
  - accuracy: {top: 9}/' labels.yaml >broken.yaml
expect 2 "$LAMINA" train broken.yaml --out broken
says err 'broken.yaml:12:5: error: layer "accuracy1" (accuracy): top 9 of 4 classes'
sed 's/units: 4/units: 3/; s/- softmax_loss/- softmax_loss: {ignore_label: 3}/' labels.yaml >fewer.yaml
expect 0 "$LAMINA" train fewer.yaml --out fewer --quiet
expect 0 "$LAMINA" test fewer/checkpoints/last.h5
says out '50 samples, accuracy'
sed 's/ignore_label: 3/ignore_label: 0/' fewer.yaml >broken.yaml
expect 1 "$LAMINA" train broken.yaml --out broken
says err "but the network's loss has 3 outputs"
[ ! -e broken ] || fail "a run that was refused left a folder"

# ---- The autoencoder's config, on made-up images ----
expect 0 "$LAMINA" train "$SOURCE/configs/mnist-autoencoder.yaml" --out auto --epochs 1 --threads 2 \
    --set data.train='{type: synthetic, samples: 256}' --set data.test='{type: synthetic, samples: 64, first: 256}'
says out 'pixel_error'
says out 'done: best loss'
expect 0 "$LAMINA" test auto/checkpoints/best.h5
says out 'pixel_error (mean_absolute_error): 0.'

finish
