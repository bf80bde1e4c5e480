//! Connections that are encrypted, to a server that proves who it is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::*;
use durhai_world::{World, WorldError};
use durhai_world_postgres::PgWorld;
use durhai_world_postgres::cluster::Cluster;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority that signs certificates, and the file that says who it is.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("a certificate");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let file = dir.join(format!("{name}.pem"));
        fs::write(&file, params.self_signed(&key).expect("a certificate").pem()).expect("written");
        Authority { issuer: Issuer::new(params, key), file }
    }
}

/// The server has a certificate of that authority for that name from now on.
fn encrypt(cluster: &Cluster, by: &Authority, name: &str) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a certificate");
    let certificate = params.signed_by(&key, &by.issuer).expect("a certificate");
    let given = tempfile::tempdir().expect("a folder");
    for (file, text) in [("server.pem", certificate.pem()), ("server.key", key.serialize_pem())] {
        let (from, to) = (given.path().join(file), cluster.dir().join(file));
        fs::write(&from, text).expect("written");
        // As the server's own, which nobody else may read.
        fs::set_permissions(given.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("readable");
        let done = cluster.command("/usr/bin/install").args(["-m", "600"]).arg(from).arg(&to).status();
        assert!(done.expect("it runs").success());
    }
    let dir = cluster.dir().display();
    for setting in
        [format!("ssl_cert_file = '{dir}/server.pem'"), format!("ssl_key_file = '{dir}/server.key'"), "ssl = on".into()]
    {
        sql(cluster, &format!("alter system set {setting}"));
    }
    sql(cluster, "select pg_reload_conf()");
    // It reads its files again a moment later.
    while sql(cluster, "show ssl") != "on" {
        std::thread::yield_now();
    }
}

fn refusal(opened: Result<PgWorld, WorldError>) -> String {
    match opened {
        Ok(_) => panic!("it was let in"),
        Err(error) => {
            assert!(matches!(error, WorldError::Invalid(_)), "an operator must mend it: {error:?}");
            error.to_string()
        }
    }
}

#[test]
fn a_server_is_taken_for_who_it_is_and_no_other() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "theirs"));
    encrypt(&cluster, &ours, "localhost");
    let url = |host: &str, more: &str| {
        let url = cluster.url("tls").replace("127.0.0.1", host);
        format!("{url}{more}")
    };
    let root = |by: &Authority| format!("&sslmode=verify-full&sslrootcert={}", by.file.display());
    let world = PgWorld::open(&url("localhost", &root(&ours))).expect("it is the server that is meant");
    let claim = held(&world, "a", &holder("me"));
    world.write(vec![turn(&claim, 2)]).expect("works")[0].as_ref().expect("accepted");
    assert_log(&world, &claim.run, 2);
    let encrypted = "select count(*) filter (where not ssl), count(*) > 2 from pg_stat_ssl join pg_stat_activity using (pid) \
                     where application_name = 'durhai'";
    assert_eq!(sql(&cluster, encrypted), "0|t", "every connection");
    let unknown = refusal(PgWorld::open(&url("localhost", &root(&theirs))));
    assert!(unknown.contains("authority") && unknown.contains("sslrootcert"), "{unknown}");
    // None of the authorities of this machine has signed it.
    let unknown = refusal(PgWorld::open(&url("localhost", "&sslmode=verify-full")));
    assert!(unknown.contains("authority") && unknown.contains("sslrootcert"), "{unknown}");
    let other = refusal(PgWorld::open(&url("127.0.0.1", &root(&ours))));
    assert!(other.contains("another name") && !other.contains("password"), "{other}");
    drop(world);
}

#[test]
fn a_server_that_does_not_encrypt_is_refused() {
    let Some(cluster) = cluster(&["fsync=off"]) else { return };
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(dir.path(), "ours");
    let url = format!("{}&sslmode=verify-full&sslrootcert={}", cluster.url("tls"), authority.file.display());
    let said = match PgWorld::open(&url) {
        Ok(_) => panic!("it was let in"),
        Err(error) => error.to_string(),
    };
    assert!(said.contains("does not encrypt") && said.contains("sslmode"), "{said}");
}
