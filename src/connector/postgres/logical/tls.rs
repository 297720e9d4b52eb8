//! TLS of a replication connection (layer 4): the modes of `sslmode`, with the same library and the same roots as the other connections.

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
pub(in super::super) enum Trust {
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
pub(super) async fn encrypt(stream: TcpStream, host: &str, trust: &Trust) -> io::Result<TlsStream<TcpStream>> {
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
        let unreadable = |error| Error::General(format!("sslrootcert {}: {error}", file.display()));
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
