git init -q
otel-schema lock app.main
cp schema.lock old.lock
cp schema.lock new.lock
git add -A
git commit -qm "First lock"
git tag v1.2
git update-ref refs/remotes/origin/main HEAD
