//! TLS of the connections that read a database's log, which sqlx has none for (layer 4, shared): the modes of `sslmode` and `ssl_mode`, with the same library
//! and the same roots as the other connections.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whether a connection is encrypted, and what the server has to prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// `disable`, `allow`: not encrypted.
    Plain,
    /// `prefer`: encrypted where the server can.
    Preferred,
    /// `require`: encrypted, whoever answers.
    Anybody,
    /// `verify-ca`: a certificate of a known authority; its file, else the public ones.
    Authority(Option<PathBuf>),
    /// `verify-full`: and of this host.
    Host(Option<PathBuf>),
}

/// Encrypts a connection.
pub async fn encrypt(stream: TcpStream, host: &str, trust: &Trust) -> io::Result<TlsStream<TcpStream>> {
    let config = config(trust).map_err(io::Error::other)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn config(trust: &Trust) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let authority = |file: &Option<PathBuf>| -> Result<Arc<WebPkiServerVerifier>, Error> {
        let roots = Arc::new(roots(file.as_ref())?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        verifier.map_err(|error| Error::General(error.to_string()))
    };
    let checked: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Plain | Trust::Preferred | Trust::Anybody => {
            Arc::new(Lenient { provider: Arc::clone(&provider), authority: None })
        }
        Trust::Authority(file) => {
            let authority = Some(authority(file)?);
            Arc::new(Lenient { provider: Arc::clone(&provider), authority })
        }
        Trust::Host(file) => authority(file)?,
    };
    Ok(builder.dangerous().with_custom_certificate_verifier(checked).with_no_client_auth())
}

fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(file) = file {
        let unreadable = |error| Error::General(format!("the certificates in {}: {error}", file.display()));
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            roots.add(certificate.map_err(unreadable)?)?;
        }
    }
    Ok(roots)
}

/// Checks less than the host's name: what `sslmode` says.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Who must have signed the certificate.
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(certificate, chain, name, stapled, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn authority() -> Issuer {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    /// What a client with this trust says of a server that shows a certificate of `name`.
    async fn meets(trust: &Trust, issuer: &Issuer, name: &str) -> io::Result<()> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, issuer).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_single_cert(vec![certificate.der().clone()], private).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (_, met) = tokio::join!(acceptor.accept(server), encrypt(client, "db.example", trust));
        met.map(|_| ())
    }

    #[tokio::test]
    async fn each_mode_asks_for_what_it_says() {
        let (known, unknown) = (authority(), authority());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, known.pem()).unwrap();
        let file = Some(path);
        let accepted = [
            (Trust::Preferred, &unknown, "other.example"),
            (Trust::Anybody, &unknown, "other.example"),
            (Trust::Authority(file.clone()), &known, "db.example"),
            (Trust::Authority(file.clone()), &known, "other.example"),
            (Trust::Host(file.clone()), &known, "db.example"),
        ];
        for (trust, issuer, name) in accepted {
            meets(&trust, issuer, name).await.unwrap_or_else(|error| panic!("{trust:?} {name}: {error}"));
        }
        let refused = [
            (Trust::Authority(file.clone()), &unknown, "db.example"),
            (Trust::Authority(None), &known, "db.example"),
            (Trust::Host(file.clone()), &known, "other.example"),
            (Trust::Host(file), &unknown, "db.example"),
            (Trust::Host(None), &known, "db.example"),
        ];
        for (trust, issuer, name) in refused {
            assert!(meets(&trust, issuer, name).await.is_err(), "{trust:?} {name}");
        }
    }

    #[tokio::test]
    async fn a_root_certificate_that_cannot_be_read_is_named() {
        let trust = Trust::Host(Some(PathBuf::from("/nowhere/ca.pem")));
        let error = meets(&trust, &authority(), "db.example").await.unwrap_err();
        assert!(error.to_string().contains("the certificates in /nowhere/ca.pem"), "{error}");
    }
}
