//! TLS: with which certificate a server says who it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Files of a certificate.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's own certificate, and after it those that vouch for it.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Why there can be no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read `{}`: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file does not have in it what it is for.
    #[error("there is no {wanted} in `{}`", path.display())]
    Nothing { path: PathBuf, wanted: &'static str },
    /// A file is damaged.
    #[error("`{}` can't be read as PEM: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
    /// The key is not that of the certificate, or of a kind that is not known.
    #[error("`{}` and `{}` can't be used together: {source}", certificate.display(), key.display())]
    Unusable {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
}

impl TlsError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "it has to be a file that the user may read who runs this",
            Self::Nothing { wanted: CERTIFICATE, .. } => {
                "it has to be PEM: the server's own certificate first, then those that vouch for it"
            }
            Self::Nothing { .. } => {
                "it has to be PEM, and not encrypted: `openssl pkey -in KEY -out PLAIN` takes a passphrase off"
            }
            Self::Damaged { .. } => "write it again from where it came from",
            Self::Unusable { .. } => {
                "the key has to be the one that the first certificate in the file was made for: RSA, P-256, P-384 or Ed25519"
            }
        }
    }
}

const CERTIFICATE: &str = "certificate";
const KEY: &str = "private key";

/// Reads a certificate and its key.
pub(super) fn load(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = sections::<CertificateDer<'static>>(&files.certificate, CERTIFICATE)?;
    let key = sections::<PrivateKeyDer<'static>>(&files.key, KEY)?.swap_remove(0);
    let unusable = |source| TlsError::Unusable {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// All of what is wanted from a file; at least one.
fn sections<T: PemObject>(path: &Path, wanted: &'static str) -> Result<Vec<T>, TlsError> {
    let text =
        std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })?;
    let found = T::pem_slice_iter(&text).collect::<Result<Vec<_>, PemError>>();
    let found =
        found.map_err(|error| TlsError::Damaged { path: path.to_owned(), problem: error.to_string() })?;
    if found.is_empty() {
        return Err(TlsError::Nothing { path: path.to_owned(), wanted });
    }
    Ok(found)
}
