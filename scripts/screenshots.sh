#!/usr/bin/env bash
# Makes the pictures of the dashboard in docs/img anew. The tests of the dashboard take them: each
# trouble is brought on for real.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p docs/img
go test -C tests/browser -count=1 -run 'TestTheDashboardIsReadable|TestTheFirstScreen|TestTheDashboardBreaks' . -shots "$PWD/docs/img"
ls -l docs/img/*.png
