#!/usr/bin/env bash
# Train, verify and benchmark every model of a profile, then report. What is finished is skipped, so an interrupted run goes
# on with the same words.
#
#     scripts/reproduce.sh shapes            the embedded data set, results in results/shapes
#     scripts/reproduce.sh cifar10 DIR       CIFAR-10 in DIR: DIR/train/CLASS/*.png (or DIR/cifar10/train/...), or what
#                                            torchvision downloads; results in results/cifar10 and, of longer trainings,
#                                            results/cifar10-long, of networks that saw pixels removed in training,
#                                            results/cifar10-removal and, with a loss that keeps maps local,
#                                            results/cifar10-locality
#     scripts/reproduce.sh tiny_imagenet DIR 20 of its classes, with a box for each image: DIR/train/CLASS/*, DIR/val/CLASS/* and
#                                            DIR/boxes.csv; results in results/tiny_imagenet. imagenette likewise
#     scripts/reproduce.sh fashion_mnist DIR Fashion-MNIST in DIR/FashionMNIST/raw, as torchvision leaves it; results in
#                                            results/fashion_mnist
#     scripts/reproduce.sh cifar10_gpu DIR   on a GPU, three seeds of each network: CIFAR-10 in DIR as above; results in
#                                            results/cifar10-gpu. fashion_mnist_gpu (DIR as above) and imagenette_gpu (DIR/train/CLASS/*, DIR/val/CLASS/*) likewise
#     scripts/reproduce.sh search DIR        every grid of configs/experiment/search on CIFAR-10, results in results/search
set -euo pipefail
profile=${1:-shapes}
data_dir=${2:-}
fa_repro=${BIN:-.venv/bin}/fa-repro
out=results/$profile

folder() { # SET: it must be given.
  [ -n "$data_dir" ] || { echo "reproduce: PROFILE=$profile needs DATA=DIR, the folder that $1 lies in." >&2; exit 2; }
}

cifar10() { # Set data to the words for CIFAR-10 in the folder that was given.
  folder CIFAR-10
  if [ -d "$data_dir/train" ]; then data=(data=image_folder "data.root=$data_dir")
  elif [ -d "$data_dir/cifar10/train" ]; then data=(data=image_folder "data.root=$data_dir/cifar10")
  else data=(data=cifar10 "data.root=$data_dir"); fi
}

# The answer "no" (exit code 1) is a result; anything above is a failure.
ask() { "$@" || { code=$?; [ $code -eq 1 ] || exit $code; }; }

train() { # RECIPE RESULTS NAME WORDS...
  "$fa_repro" train "${data[@]}" "experiment=$1" "results=$2" "name=$3" "${@:4}"
}

verify() { # RESULTS NAME
  ask "$fa_repro" verify-gradcam "checkpoint=$1/train/$2/checkpoint.pt" "results=$1" "name=$2"
}

removal() { # RESULTS NAME
  "$fa_repro" benchmark-removal "checkpoint=$1/train/$2/checkpoint.pt" "results=$1" "name=$2" "${images[@]}" >/dev/null
}

variant() { # RESULTS NAME VARIANT WORDS...: the same on fewer images, without the dearest method, and otherwise
  "$fa_repro" benchmark-removal "checkpoint=$1/train/$2/checkpoint.pt" "results=$1" "name=$2-$3" n_images=500 \
    'methods=[feature_map,depth_map,contrast_map,grad_cam,occlusion]' "${@:4}" >/dev/null
}

case $profile in
  shapes)
    data=(data=shapes)
    models=(fa_cnn fa_cnn_undamped fa_cnn_plain fa_cnn_linear_head resnet_whitened) long=() removed=() localized=()
    chosen=(fa_cnn resnet_whitened) seeds=()
    images=(n_images=60 repeats=1) shown=(n_images=60 repeats=1) randomised=(n_images=20 repeats=1) ;;
  cifar10)
    cifar10
    models=(fa_cnn fa_cnn_fine fa_cnn_finer fa_cnn_local fa_cnn_undamped fa_cnn_plain fa_cnn_linear_head resnet_small resnet_whitened)
    chosen=(fa_cnn_fine resnet_whitened) seeds=(1 2)
    long=(fa_cnn resnet_whitened) removed=("${models[@]}") localized=(fa_cnn fa_cnn_fine fa_cnn_local resnet_whitened)
    images=(n_images=2000) shown=(measures=[grid,grid_peak]) randomised=() ;;
  tiny_imagenet | imagenette)
    folder "$([ "$profile" = imagenette ] && echo Imagenette || echo Tiny-ImageNet)"
    data=("data.root=$data_dir")
    for model in fa_cnn_fine resnet_whitened; do
      train "$profile" "$out" "$model" "model=$model"
      verify "$out" "$model"
      "$fa_repro" benchmark-localization "checkpoint=$out/train/$model/checkpoint.pt" "results=$out" "name=$model" \
        'measures=[pointing_game,energy]' 'methods=[feature_map,depth_map,contrast_map,grad_cam,occlusion]' patch=8 \
        n_images=300 >/dev/null
    done
    exec "$fa_repro" report ;;
  fashion_mnist)
    folder Fashion-MNIST
    data=("data.root=$data_dir")
    for model in fa_cnn resnet_small; do
      train "fashion_mnist/$model" "$out" "$model"
      verify "$out" "$model"
    done
    exec "$fa_repro" report ;;
  cifar10_gpu | fashion_mnist_gpu | imagenette_gpu)
    out=results/${profile%_gpu}-gpu models=(fa_cnn_large resnet18) images=(n_images=2000)
    case $profile in
      cifar10_gpu) cifar10 ;;
      fashion_mnist_gpu) folder Fashion-MNIST && data=("data.root=$data_dir") ;;
      imagenette_gpu) folder Imagenette && data=("data.root=$data_dir") models=(fa_cnn resnet_whitened resnet18) ;;
    esac
    for seed in '' 1 2; do # each network once before any of them twice
      for model in "${models[@]}"; do
        train "$profile" "$out" "$model${seed:+-seed$seed}" "model=$model" "seed=${seed:-0}"
        if [ -z "$seed" ]; then verify "$out" "$model"; removal "$out" "$model"; fi
      done
    done
    exec "$fa_repro" report ;;
  search)
    cifar10
    out=results/search/cifar10
    for grid in ablations resnets twins resolution depth width maps alpha removal local window_coarse window_fine; do
      "$fa_repro" train -m "${data[@]}" "experiment=search/$grid" "results=$out"
    done
    for config in $(grep -l 'removal: 0\.[1-9]' "$out"/train/*/config.yaml); do # of the last four grids
      run=${config%/config.yaml}
      "$fa_repro" benchmark-removal "checkpoint=$run/checkpoint.pt" split=val "${data[@]}" "results=$out" "name=${run##*/}" \
        'methods=[feature_map,grad_cam,occlusion]' >/dev/null
    done
    exec "$fa_repro" report ;;
  *) echo "reproduce: no profile '$profile'. Choose shapes, cifar10, tiny_imagenet, imagenette, fashion_mnist, search, cifar10_gpu, fashion_mnist_gpu or imagenette_gpu." >&2; exit 2 ;;
esac

classifier() { # RECIPE RESULTS MODEL
  echo "== $2: $3"
  train "$1" "$2" "$3" "model=$3"
  verify "$2" "$3"
}

network() { # RECIPE RESULTS MODEL
  classifier "$@"
  removal "$2" "$3"
}

maps() { # RESULTS MODEL: where its maps lie, and whether they come from what was learned
  echo "== $1: maps of $2"
  local words=("checkpoint=$1/train/$2/checkpoint.pt" "results=$1" "name=$2")
  "$fa_repro" benchmark-localization "${words[@]}" ${shown[@]+"${shown[@]}"} >/dev/null
  "$fa_repro" benchmark-sanity "${words[@]}" ${randomised[@]+"${randomised[@]}"} >/dev/null
}

for model in "${models[@]}"; do network "$profile" "$out" "$model"; done
for model in ${long[@]+"${long[@]}"}; do classifier "${profile}_long" "$out-long" "$model"; done
for model in ${removed[@]+"${removed[@]}"}; do network "${profile}_removal" "$out-removal" "$model"; done
for model in ${localized[@]+"${localized[@]}"}; do network "${profile}_locality" "$out-locality" "$model"; done
# The control: of a probability, Grad-CAM is not the class map, and the check must say so.
ask "$fa_repro" verify-gradcam "checkpoint=$out/train/${chosen[0]}/checkpoint.pt" score=probability "results=$out" "name=${chosen[0]}-probability"
for model in "${chosen[@]}"; do
  maps "$out" "$model"
  for seed in ${seeds[@]+"${seeds[@]}"}; do
    train "$profile" "$out" "$model-seed$seed" "model=$model" "seed=$seed"
    train "${profile}_removal" "$out-removal" "$model-seed$seed" "model=$model" "seed=$seed"
    removal "$out-removal" "$model-seed$seed"
  done
  if [ ${#localized[@]} -gt 0 ]; then
    variant "$out-locality" "$model" nearest upsampling=nearest
    variant "$out-locality" "$model" patches unit=patch
    variant "$out-locality" "$model" imputations 'imputation=[mean,blur,noise,noisy_linear]'
  fi
done
"$fa_repro" report
