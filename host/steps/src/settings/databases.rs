//! `[databases]`: where the databases are that steps may work in.

use std::path::PathBuf;

use durhai::postgres::Database as Connectable;
use toml::Spanned;

use super::error::Wrong;
use super::form::Database;
use super::steps::secret_name;
use crate::permissions::is_name;
use crate::sql::DatabasePlace;

pub fn place(name: &Spanned<String>, given: &Spanned<Database>) -> Result<(String, DatabasePlace), Wrong> {
    if !is_name(name.get_ref()) {
        let message =
            format!("{:?} cannot be the name of a database: use letters, digits, `-` and `_`", name.get_ref());
        return Err(Wrong::at(name.span(), message));
    }
    let place = match (given.get_ref(), given.span()) {
        (Database { store: true, url: None, password: None }, _) => DatabasePlace::Store,
        (Database { store: true, .. }, span) => {
            return Err(Wrong::at(
                span,
                "`store = true` is the database that the host keeps its runs in: it has no `url` and no `password` here",
            ));
        }
        (Database { url: Some(url), password, .. }, _) => {
            check(url)?;
            DatabasePlace::At { url: url.get_ref().clone(), password: password.as_ref().map(secret_name).transpose()? }
        }
        (_, span) => {
            return Err(Wrong::at(
                span,
                "a database has a `url`, or `store = true`: { url = \"postgres://USER@HOST/DATABASE\" }",
            ));
        }
    };
    Ok((name.get_ref().clone(), place))
}

/// The file with the authorities that a database's address trusts.
pub fn trusted(place: &DatabasePlace) -> Option<PathBuf> {
    let DatabasePlace::At { url, .. } = place else { return None };
    Connectable::at(url, None).ok()?.trusted().map(PathBuf::from)
}

fn check(url: &Spanned<String>) -> Result<(), Wrong> {
    let database = Connectable::at(url.get_ref(), None).map_err(|error| Wrong::at(url.span(), error))?;
    if database.has_password() {
        let message =
            "a password in it would be seen: give `password = \"NAME\"`, the name of a secret under [secrets]";
        return Err(Wrong::at(url.span(), message));
    }
    match database.trusted() {
        Some(file) if file.is_relative() => Err(Wrong::at(
            url.span(),
            format!("sslrootcert={}: expected the whole path, which begins with /", file.display()),
        )),
        _ => Ok(()),
    }
}
