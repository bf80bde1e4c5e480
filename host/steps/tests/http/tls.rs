//! Certificates.

use std::fs;
use std::sync::Arc;

use durhai_steps::Roots;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::server::{Server, answer};
use super::{Place, config, resolves_to};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_must_be_signed_by_whom_the_settings_trust_and_for_the_name() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let server = Server::with(Some(TlsAcceptor::from(Arc::new(tls))), |_, _| answer(200, &[], "secure")).await;
    let folder = tempfile::tempdir().unwrap();
    let (right, empty) = (folder.path().join("ca.pem"), folder.path().join("empty.pem"));
    fs::write(&right, cert.pem()).unwrap();
    fs::write(&empty, "nothing").unwrap();
    let does_not_hold = "the certificate of the server does not hold";
    for (name, file, roots, wanted) in [
        ("api.test", Some(&right), Roots::Both, Ok("secure")),
        ("api.test", Some(&right), Roots::System, Ok("secure")),
        ("api.test", Some(&right), Roots::Bundled, Ok("secure")),
        ("api.test", None, Roots::Both, Err(does_not_hold)),
        ("api.test", None, Roots::Bundled, Err("[http] ca_file")),
        ("other.test", Some(&right), Roots::Both, Err(does_not_hold)),
        ("api.test", Some(&empty), Roots::Both, Err("there is none in PEM form")),
        (
            "api.test",
            Some(&folder.path().join("missing.pem")),
            Roots::Both,
            Err("missing.pem ([http] ca_file): No such file"),
        ),
    ] {
        let mut config = config("api.test,other.test,127.0.0.1");
        config.http.resolver = resolves_to(&["127.0.0.1"]);
        (config.http.ca_file, config.http.roots) = (file.cloned(), roots);
        let place = Place::new(config).await;
        let view = place.run("http.get", json!(format!("https://{name}:{}/", server.port))).await;
        match wanted {
            Ok(body) => assert_eq!(view.output["body"], body, "{name} {file:?} {roots:?}: {:?}", view.error),
            Err(part) => {
                let error = view.error.unwrap();
                assert!(error.message.contains(part), "{name} {file:?} {roots:?}: {}", error.message);
                assert_eq!(error.attempts, 1, "{name} {file:?}");
            }
        }
    }
    // What speaks no TLS may by the next attempt.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 mail.example.com\r\n").await;
        }
    });
    let error = Place::granted("127.0.0.1").await.fails("http.get", json!(url)).await;
    assert_eq!(error.attempts, 4, "{}", error.message);
}
