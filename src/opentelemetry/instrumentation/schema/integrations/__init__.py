"""One module per foreign library, all of one shape: `install(recorder, patches)`. None imports another."""
