//! What can go wrong between a host and the server, by what is to be done about it.

use durhai_world::WorldError;
use rustls::CertificateError;
use tokio_postgres::error::{DbError, SqlState};

/// What the sentence begins with about a server that could be another one than is meant. It says what to do.
pub const NOT_TRUSTED: &str = "the server is not trusted: ";

#[derive(Debug)]
pub enum Failure {
    /// Nobody answers, or the server is going down, full or not the primary: it can be asked again later, on a new connection.
    Lost(String),
    /// Two got into each other's way, and this one was rolled back: it can be asked again now.
    Conflict(String),
    /// The server ended it: it took longer than the server allows, or an operator did not want it.
    Ended(String),
    /// What was to be stored is no value that the server takes: the same statement without it may be taken.
    Data(String),
    /// The server refuses: a password, a right, a missing table, a mistake of ours. Asking again changes nothing.
    Wrong(String),
}

/// The classes of codes that the server itself has, or that the standard has given a meaning.
const OWN: [&str; 44] = [
    "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "28", "2B", "2D", "2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57",
    "58", "72", "F0", "HV", "P0", "XX",
];

impl Failure {
    pub fn of(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            if let Some(why) = untrusted(&error) {
                return Failure::Wrong(format!("{NOT_TRUSTED}{why}"));
            }
            return match error.is_closed()
                || std::error::Error::source(&error).is_some_and(|cause| cause.is::<std::io::Error>())
            {
                true => Failure::Lost(told(&error)),
                false => Failure::Wrong(told(&error)),
            };
        };
        let text = sentence(refusal);
        match refusal.code() {
            &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::LOCK_NOT_AVAILABLE => {
                Failure::Conflict(text)
            }
            &SqlState::QUERY_CANCELED => Failure::Ended(format!(
                "{text}. If it is the statement_timeout of this role, take that away: alter role … reset statement_timeout"
            )),
            code => match &code.code()[..2] {
                // Connection, resources, an operator's shutdown or cancel, errors of the system under the server.
                "08" | "53" | "57" | "58" => Failure::Lost(text),
                _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Failure::Lost(text),
                // What a session had prepared is gone, or made for tables that have changed: another session has it anew.
                "26" | "0A" => Failure::Lost(text),
                // It stood in a transaction for too long, or is in none.
                "25" => Failure::Lost(text),
                // A value, a rule of a table, a limit of the server, what a trigger says, a page that cannot be read.
                "22" | "23" | "54" | "P0" | "XX" => Failure::Data(text),
                // A code that a trigger of the operator has made up.
                class if !OWN.contains(&class) => Failure::Data(text),
                _ => Failure::Wrong(text),
            },
        }
    }

    /// One of a connection to a server that was reached before: what it refuses may be for a moment, while it is set up anew, or a
    /// password is changed.
    pub fn for_now(self) -> Self {
        match self {
            Failure::Data(why) | Failure::Wrong(why) => Failure::Lost(why),
            other => other,
        }
    }

    /// For those who do not ask again.
    pub fn into_world(self) -> WorldError {
        match self {
            Failure::Lost(why) | Failure::Conflict(why) | Failure::Ended(why) => {
                WorldError::Unavailable(format!("PostgreSQL: {why}"))
            }
            Failure::Data(why) | Failure::Wrong(why) => WorldError::Invalid(format!("PostgreSQL: {why}")),
        }
    }

    pub fn why(&self) -> &str {
        match self {
            Failure::Lost(why)
            | Failure::Conflict(why)
            | Failure::Ended(why)
            | Failure::Data(why)
            | Failure::Wrong(why) => why,
        }
    }
}

/// Why the server was not taken for the one that was meant, and what to do, if that is what happened.
fn untrusted(error: &tokio_postgres::Error) -> Option<String> {
    let mut cause = std::error::Error::source(error);
    if cause.is_some_and(|cause| cause.to_string().contains("does not support TLS")) {
        let why = "it does not encrypt: set ssl = on there, or take &sslmode=disable where nobody else can listen";
        return Some(why.to_owned());
    }
    let found = loop {
        let inner = cause?.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(found) => break found,
            None => cause = cause?.source(),
        }
    };
    let rustls::Error::InvalidCertificate(certificate) = found else { return None };
    let advice = match certificate {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "no authority that is trusted here has signed it: name the file of the one that has with &sslrootcert=FILE"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name: reach the server by a name that stands in it, or give it one for this name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired: give the server a new one"
        }
        _ => "give the server another one",
    };
    Some(format!("its certificate is refused ({certificate}); {advice}"))
}

fn sentence(refusal: &DbError) -> String {
    let mut text = format!("{} ({})", refusal.message(), refusal.code().code());
    for more in [refusal.detail(), refusal.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

/// An error with what caused it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
