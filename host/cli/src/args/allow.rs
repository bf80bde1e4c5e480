//! What steps are granted.

use std::path::PathBuf;

use clap::Args;

use crate::text::quoted;

/// What steps from scripts may touch. Nothing, unless it is granted here or in `durhai.toml`.
#[derive(Debug, Clone, Default, Args)]
pub struct Allow {
    /// Steps may do everything, and nothing is out of their reach, `durhai.toml` included.
    #[arg(short = 'A', long)]
    pub allow_all: bool,
    /// Steps may read files: all, or those below these paths.
    #[arg(long, value_name = "PATH,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_read: Vec<String>,
    /// Steps may write files: all, or those below these paths.
    #[arg(long, value_name = "PATH,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_write: Vec<String>,
    /// Steps may connect: to every host, or to these, with a port or on every port.
    #[arg(long, value_name = "HOST:PORT,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_net: Vec<String>,
    /// Steps may run programs: all, or these.
    #[arg(long, value_name = "PROGRAM,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_exec: Vec<String>,
    /// Steps may read variables of the environment: all, or these.
    #[arg(long, value_name = "NAME,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_env: Vec<String>,
    /// Steps may use databases that `durhai.toml` names: all, or these.
    #[arg(long, value_name = "NAME,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_sql: Vec<String>,
    /// Read further variables from a file; without a name from `.env`. What is set already counts.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = ".env")]
    pub env_file: Option<PathBuf>,
}

impl Allow {
    /// As they were typed.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.allow_all {
            words.push("-A".to_string());
        }
        for (flag, values) in [
            ("--allow-read", &self.allow_read),
            ("--allow-write", &self.allow_write),
            ("--allow-net", &self.allow_net),
            ("--allow-exec", &self.allow_exec),
            ("--allow-env", &self.allow_env),
            ("--allow-sql", &self.allow_sql),
        ] {
            words.extend(values.iter().map(|value| match value.as_str() {
                "" => flag.to_string(),
                value => format!("{flag}={}", quoted(value)),
            }));
        }
        words.extend(self.env_file.iter().map(|file| format!("--env-file={}", quoted(&file.display().to_string()))));
        words
    }
}
