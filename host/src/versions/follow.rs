//! What other hosts brought: where hosts share a world, the newest text serves in all of them.

use std::time::Duration;

use durhai_engine::header::OnReload;
use durhai_world::WorldError;

use crate::error::Unready;
use crate::versions::candidate::{self, Candidate};
use crate::versions::lifecycle::Change;
use crate::versions::newest::{self, Saved};
use crate::versions::scan::{Found, Scanner};
use crate::versions::serving::Serving;

/// How long a version that cannot be read here is not read again.
const AGAIN: Duration = Duration::from_secs(60);

impl Scanner<'_> {
    /// Has each workflow serve here what serves in all hosts. The host that brought a version has gone through the live runs, and asks for
    /// those that others hold. Where runs are to move, those are left that were begun with the old version until it was heard of here.
    pub fn follow(&self) -> Result<Found, WorldError> {
        let mut found = Found::default();
        if !self.catalog.is_shared() {
            return Ok(found);
        }
        let names = self.catalog.names();
        if names.is_empty() {
            return Ok(found);
        }
        for (name, pointed) in names.iter().zip(newest::all_pointed(self.world, &names)?) {
            if let Some(pointed) = pointed {
                self.follow_one(name, pointed, &mut found)?;
            }
        }
        Ok(found)
    }

    /// The same of one of them.
    pub fn follow_one(&self, name: &str, pointed: Saved, found: &mut Found) -> Result<(), WorldError> {
        let before = self.catalog.workflow(name).unwrap_or_default();
        let from = before.serving.as_ref().map(|serving| serving.version.clone());
        let version = pointed.version.clone();
        if from.as_ref() == Some(&version) {
            if before.unreadable.is_some() {
                found.reports.extend(self.catalog.apply(name, Change::Readable));
            }
            return Ok(());
        }
        if before.unreadable.as_ref().is_some_and(|it| it.version == version && it.tried.elapsed() < AGAIN) {
            return Ok(());
        }
        let bundle = match self.catalog.bundle(self.world, &version) {
            Ok(bundle) => Ok(bundle),
            Err(Unready::World(error)) => return Err(error),
            Err(Unready::Wrong(why)) => Err(why),
        };
        let compiled = bundle.and_then(|bundle| match self.sandbox.compile(&bundle) {
            Ok(program) => Ok((bundle, program)),
            Err(wrong) => Err(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        });
        let (bundle, program) = match compiled {
            Ok(compiled) => compiled,
            Err(why) => {
                let error = format!(
                    "version {} serves in the other hosts, and this one cannot read it: {why}\nA host with a newer durhai may have \
                     brought it: bring this one up to date.",
                    version.short()
                );
                found.reports.extend(self.catalog.apply(name, Change::Unreadable { version, error }));
                return Ok(());
            }
        };
        let (header, description) = (program.header().clone(), program.description().to_owned());
        let live = header.on_reload == OnReload::Upgrade && candidate::any_live(self.world, name)?;
        let serving = Serving { version: version.clone(), header: header.clone() };
        let saved = pointed.at;
        let change = Change::Follows { serving, description: description.clone(), pointed, checked: live };
        found.reports.extend(self.catalog.apply(name, change));
        let after = self.catalog.workflow(name).unwrap_or_default();
        if let Some(behind) = after.behind().filter(|_| before.behind().is_none()) {
            tracing::info!(workflow = name, "{behind}");
        }
        if live {
            found.candidates.push(Candidate {
                workflow: name.into(),
                from: from.unwrap_or_else(|| version.clone()),
                version,
                saved,
                bundle,
                header,
                description,
                served: true,
                followed: true,
            });
        }
        Ok(())
    }
}
