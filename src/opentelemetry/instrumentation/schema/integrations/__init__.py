"""One package per foreign library, each with `install(recorder, patches)`. None imports another."""
