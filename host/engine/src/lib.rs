//! The Rhai sandbox of durhai: compiles scripts and carries them as fibers
