//! The checks of this repository, `cargo xtask test`, and what is generated in it, `cargo xtask docs`.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail};

/// Programs that tests call, and the Debian packages that bring them.
const TOOLS: [(&str, &str); 6] = [
    ("strace", "strace"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("nginx", "nginx-light"),
    ("pg_lsclusters", "postgresql"),
    ("pgbouncer", "pgbouncer"),
];

/// What tests need from PyPI, each with its version, and the place it is put in.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/requirements.txt");
const VENV: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/venv");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(),
        ["install"] => install(),
        ["docs"] => docs(),
        ["chaos"] => chaos(10),
        ["chaos", "--minutes", minutes] => match minutes.parse() {
            Ok(minutes) => chaos(minutes),
            Err(_) => Err(anyhow::anyhow!("found {minutes:?}, expected a number of minutes")),
        },
        _ => {
            eprintln!("usage: cargo xtask test      install what is missing, then run every check");
            eprintln!("       cargo xtask install   install what the tests need, with apt-get and pip");
            eprintln!(
                "       cargo xtask chaos [--minutes N]   hosts on one PostgreSQL through kills, stops and deaths of the server"
            );
            eprintln!("       cargo xtask docs      write stdlib/README.md from the comments in stdlib/rhai");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> anyhow::Result<()> {
    let began = Instant::now();
    install()?;
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    // Some tests run the program itself; it is built with them, for it has tests of its own.
    if has("cargo-nextest") {
        cargo(&["nextest", "run", "--workspace", "--no-fail-fast"])?;
    } else {
        cargo(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"])?;
    }
    // Stack use differs between the profiles: hostile scripts must fail cleanly in both.
    cargo(&["test", "--release", "--package", "durhai-engine", "--quiet"])?;
    cargo(&["test", "--workspace", "--doc", "--quiet"])?;
    cargo(&["build", "--workspace", "--examples", "--benches", "--quiet"])?;
    println!("all checks passed in {} s", began.elapsed().as_secs());
    Ok(())
}

/// The test of hosts on one database for as long as is wanted. It prints its seed; `DURHAI_SEED` makes the same choices again.
fn chaos(minutes: u64) -> anyhow::Result<()> {
    install()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--package", "durhai-cli", "--test", "chaos", "--", "--nocapture"]);
    let status =
        command.env("DURHAI_CHAOS_SECONDS", (minutes * 60).to_string()).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the test failed");
    }
    Ok(())
}

/// Installs what is missing. Without root, apt or a network it says what to install, and goes on: the tests that need it
/// say that they are skipped.
fn install() -> anyhow::Result<()> {
    let mut missing: Vec<_> = TOOLS.iter().filter(|(tool, _)| !has(tool)).map(|(_, package)| *package).collect();
    let python = || runs(Command::new("python3").args(["-c", "import ensurepip, venv"]));
    if !python() {
        missing.push("python3-venv");
    }
    packages(&missing);
    if !python_packages()? {
        eprintln!("xtask: what {REQUIREMENTS} names could not be installed: without it some tests are skipped");
    }
    Ok(())
}

fn packages(missing: &[&str]) {
    if missing.is_empty() {
        return;
    }
    let apt = |args: &[&str]| Command::new("apt-get").args(args).status().is_ok_and(|status| status.success());
    let install = [&["install", "-y", "--no-install-recommends"], missing].concat();
    if !(apt(&install) || apt(&["update"]) && apt(&install)) {
        eprintln!("xtask: please install {}: without it some tests are skipped", missing.join(", "));
    }
}

/// Brings the environment in `target/tools` to what the requirements say; a copy of them tells that it is there.
fn python_packages() -> anyhow::Result<bool> {
    let wanted = std::fs::read_to_string(REQUIREMENTS).with_context(|| format!("cannot read {REQUIREMENTS}"))?;
    let done = format!("{VENV}/requirements.txt");
    if std::fs::read_to_string(&done).is_ok_and(|there| there == wanted) {
        return Ok(true);
    }
    // axe comes in a package for Playwright, which is large and not needed: so nothing is installed that is not named.
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement", REQUIREMENTS];
    let made = runs(Command::new("python3").args(["-m", "venv", "--clear", VENV]))
        && runs(Command::new(format!("{VENV}/bin/pip")).args(pip));
    if made {
        std::fs::write(&done, wanted).with_context(|| format!("cannot write {done}"))?;
    }
    Ok(made)
}

fn runs(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// Writes what is generated from comments.
fn docs() -> anyhow::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../stdlib/README.md");
    std::fs::write(path, durhai_stdlib::docs::readme()).with_context(|| format!("cannot write {path}"))
}

fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Daemons are where only root looks.
    let daemons = ["/usr/sbin".into()];
    std::env::split_paths(&paths).chain(daemons).any(|dir: std::path::PathBuf| dir.join(program).is_file())
}

fn cargo(args: &[&str]) -> anyhow::Result<()> {
    println!("> cargo {}", args.join(" "));
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(args).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}
