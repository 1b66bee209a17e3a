#!/usr/bin/env bash
# A training on several machines of a Slurm cluster, one worker each: sbatch deploy/train/slurm.sh [RECIPE [--set A.B=VALUE ...]]
#
# Submit it from the checkout, which all machines must see, after `make setup` there. Worker 0 goes on with evaluation, export and
# verification when the others are done. A job that was ended goes on from its last checkpoint when it is submitted again.
#SBATCH --job-name=litepress
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:1
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=litepress-%j.log
set -euo pipefail
recipe=${1:-recipes/imagenet/resnet50.yaml}
shift || true
export LITEPRESS_PORT=${LITEPRESS_PORT:-12321}
hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | tr '\n' ' ')
export LITEPRESS_HOSTS=$hosts

# --kill-on-bad-exit: where one worker dies, the others cannot go on
srun --kill-on-bad-exit=1 bash -c '
    TF_CONFIG=$(deploy/train/tf_config.sh "$SLURM_PROCID" "$LITEPRESS_PORT" $LITEPRESS_HOSTS)
    export TF_CONFIG
    exec .venv/bin/litepress run "$@" --set train.strategy=multi_worker
' litepress "$recipe" "$@"
