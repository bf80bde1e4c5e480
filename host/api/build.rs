//! The page is inside of the binary: a file that was added there is a reason to build again.

fn main() {
    // Debug builds read it from the folder.
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    println!("cargo::rerun-if-changed={}", if release { "page" } else { "build.rs" });
}
