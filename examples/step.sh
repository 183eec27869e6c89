#!/bin/sh
# The steps of examples/workflows/article-pipeline.yaml, for `fleetward worker run --exec examples/step.sh`: a step comes
# as JSON on standard input with the handler that it is for, and its output is the JSON that is printed.
step=$(cat)
case "$step" in
  *'"handler":"research"'*) echo '{"text": "Ants carry leaves."}' ;;
  *'"handler":"draft"'*) echo '{"text": "Ants carry leaves, and more of them than they weigh."}' ;;
  *'"handler":"publish"'*) echo '{"url": "https://example.org/ants"}' ;;
  *) echo "this step is unknown here" >&2; exit 1 ;;
esac
