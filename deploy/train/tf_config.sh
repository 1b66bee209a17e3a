#!/usr/bin/env bash
# Prints the TF_CONFIG of one worker of a job, as TensorFlow and litepress read it.
#
#   tf_config.sh INDEX PORT HOST...      INDEX is this worker's place among the hosts, from 0
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: tf_config.sh INDEX PORT HOST..." >&2
    exit 2
fi
index=$1 port=$2
shift 2
if ! [[ $index =~ ^[0-9]+$ ]] || [ "$index" -ge $# ]; then
    echo "tf_config.sh: there is no host number $index among the $# given" >&2
    exit 2
fi
workers=$(printf '"%s:'"$port"'", ' "$@")
printf '{"cluster": {"worker": [%s]}, "task": {"type": "worker", "index": %s}}\n' "${workers%, }" "$index"
