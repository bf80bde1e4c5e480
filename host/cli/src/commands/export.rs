//! `durhai export`: a run as a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durhai::archive::ExportOptions;

use crate::args;
use crate::client::Client;
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;

pub async fn export(globals: &args::Globals, args: args::Export, out: &Out) -> Outcome {
    let client = Client::connect(globals).await?;
    let options = ExportOptions { children: args.children, tokens: args.with_tokens };
    let done = match Target::open(args.output.as_deref()) {
        Ok(mut target) => match target.writer() {
            Ok(writer) => client.export(&args.run, options, writer).await.and_then(|()| target.done()),
            Err(fail) => Err(fail),
        },
        Err(fail) => Err(fail),
    };
    client.close().await;
    told(done?, out)
}

/// Says how large the file has become, where it is one: standard output holds nothing but what was exported.
pub fn told(written: Option<Written>, out: &Out) -> Outcome {
    if let Some(Written { path, bytes }) = written {
        match out.json {
            true => out.document(&serde_json::json!({ "file": path, "bytes": bytes })),
            false => note(format!("{} written, {bytes} bytes", path.display())),
        }
    }
    Ok(Exit::Done)
}

/// A file that is whole.
pub struct Written {
    path: PathBuf,
    bytes: u64,
}

/// Where a file goes: under a name of its own until it is whole, or to standard output.
pub struct Target {
    file: Option<(File, PathBuf, PathBuf)>,
}

impl Target {
    pub fn open(path: Option<&Path>) -> Result<Target, Fail> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Target { file: None }) };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part).map_err(|error| unwritable(&part, &error))?;
        Ok(Target { file: Some((file, part, path.to_owned())) })
    }

    pub fn writer(&mut self) -> Result<Box<dyn Write + Send>, Fail> {
        match &self.file {
            None => Ok(Box::new(io::stdout())),
            Some((file, part, _)) => match file.try_clone() {
                Ok(file) => Ok(Box::new(file)),
                Err(error) => Err(unwritable(part, &error)),
            },
        }
    }

    /// All of it was written. What the file has become, where it is one.
    pub fn done(mut self) -> Result<Option<Written>, Fail> {
        let Some((file, part, path)) = &self.file else { return Ok(None) };
        let settle = || {
            file.sync_all()?;
            let bytes = file.metadata()?.len();
            std::fs::rename(part, path)?;
            Ok(Written { path: path.clone(), bytes })
        };
        let written = settle().map_err(|error| unwritable(path, &error))?;
        self.file = None;
        Ok(Some(written))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some((_, part, _)) = &self.file {
            // What is there is not whole.
            let _ = std::fs::remove_file(part);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Fail {
    Fail::usage(format!("{} cannot be written: {error}", path.display()))
}
