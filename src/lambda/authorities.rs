//! Which authorities are trusted to say who an endpoint is: those of AWS_CA_BUNDLE, else of the profile's `ca_bundle`, else the
//! system's, for which SSL_CERT_FILE and SSL_CERT_DIR can stand.
//!
//! Files are read once for each HTTP client, when it first wants TLS: they are large, and may have changed since the last.

use super::files::{self, LARGEST, Unreadable};
use aws_smithy_http_client::tls::TrustStore;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A file that stands for the system's authorities.
pub struct Bundle {
    /// What names it.
    pub named_by: String,
    pub path: PathBuf,
}

/// What a client trusts, which is read when it is first wanted.
pub struct Trust {
    bundle: Option<Bundle>,
    read: OnceLock<Result<Authorities, NoAuthority>>,
}

impl Trust {
    /// The authorities of the bundle, or of the system.
    pub fn new(bundle: Option<Bundle>) -> Trust {
        Trust {
            bundle,
            read: OnceLock::new(),
        }
    }

    /// Reads them, the first time.
    pub fn authorities(&self) -> Result<&Authorities, NoAuthority> {
        (self.read)
            .get_or_init(|| Authorities::read(self.bundle.as_ref()))
            .as_ref()
            .map_err(NoAuthority::clone)
    }

    /// Whether there turned out to be none.
    pub fn is_missing(&self) -> bool {
        matches!(self.read.get(), Some(Err(_)))
    }
}

/// The authorities of a client.
pub struct Authorities {
    /// For connections that are made here.
    pub roots: Arc<RootCertStore>,
    /// The same for those that the SDK makes.
    pub store: TrustStore,
}

/// Why there are none. In words for DETAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAuthority(pub String);

impl fmt::Display for NoAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAuthority {}

impl Authorities {
    /// Reads them.
    pub fn read(bundle: Option<&Bundle>) -> Result<Authorities, NoAuthority> {
        let named: Vec<(&str, PathBuf)> = match bundle {
            Some(bundle) => vec![(&bundle.named_by, bundle.path.clone())],
            None => named_for_the_system(),
        };
        if named.is_empty() {
            return Authorities::of(load_native_certs().certs).ok_or_else(|| {
                NoAuthority("the system has no store of certificates that can be read".to_owned())
            });
        }
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for (named_by, path) in named {
            let certificates = read_path(&path).unwrap_or_else(|why| {
                let path = path.to_string_lossy();
                problems.push(format!("{named_by} names \"{path}\", {why}"));
                Vec::new()
            });
            found.extend(certificates);
        }
        Authorities::of(found).ok_or_else(|| NoAuthority(problems.join("; ")))
    }

    /// `None` if none of them is one.
    fn of(found: Vec<CertificateDer<'static>>) -> Option<Authorities> {
        let mut roots = RootCertStore::empty();
        let mut pem = String::new();
        for certificate in found {
            let text = BASE64_STANDARD.encode(&certificate);
            // Some of a system's may be of a kind that is not known here.
            if roots.add(certificate).is_ok() {
                pem.push_str("-----BEGIN CERTIFICATE-----\n");
                pem.push_str(&text);
                pem.push_str("\n-----END CERTIFICATE-----\n");
            }
        }
        (!roots.is_empty()).then(|| Authorities {
            roots: Arc::new(roots),
            store: TrustStore::empty().with_pem_certificate(pem),
        })
    }
}

/// What stands for the system's store, as OpenSSL has it.
fn named_for_the_system() -> Vec<(&'static str, PathBuf)> {
    let value = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let file = value("SSL_CERT_FILE").map(|file| ("SSL_CERT_FILE", PathBuf::from(file)));
    let directories = value("SSL_CERT_DIR").unwrap_or_default();
    let directories = std::env::split_paths(&directories)
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| ("SSL_CERT_DIR", directory));
    file.into_iter().chain(directories).collect()
}

/// The certificates of a file or a directory.
fn read_path(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = if path.is_dir() {
        load_certs_from_paths(None, Some(path)).certs
    } else {
        let bytes = files::read(path).map_err(|why| match why {
            Unreadable::System(error) => format!("which can't be read: {error}"),
            Unreadable::NoFile => "which is no file".to_owned(),
            Unreadable::TooLarge => format!("which is larger than {} MB", LARGEST >> 20),
        })?;
        (CertificateDer::pem_slice_iter(&bytes))
            .filter_map(Result::ok)
            .collect()
    };
    let is_one = |certificate: &CertificateDer<'static>| {
        RootCertStore::empty().add(certificate.clone()).is_ok()
    };
    match found.iter().any(is_one) {
        true => Ok(found),
        false => Err("in which there is no certificate in the format PEM".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: impl Into<PathBuf>) -> Result<usize, String> {
        let bundle = Bundle {
            named_by: "AWS_CA_BUNDLE".to_owned(),
            path: path.into(),
        };
        match Authorities::read(Some(&bundle)) {
            Ok(found) => Ok(found.roots.len()),
            Err(NoAuthority(why)) => Err(why),
        }
    }

    #[test]
    fn what_is_no_bundle() {
        let directory = std::env::temp_dir().join(format!("aws_lambda_fdw-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let large = file("large", b"");
        (std::fs::OpenOptions::new().write(true).open(&large))
            .and_then(|large| large.set_len(LARGEST + 1))
            .unwrap();
        let not_der = b"-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
        for (path, why) in [
            (directory.join("missing"), "No such file"),
            (PathBuf::from("/dev/zero"), "no file"),
            (large, "larger than 16 MB"),
            (file("empty", b""), "no certificate"),
            (file("text", b"no PEM\n"), "no certificate"),
            (
                file("cut", b"-----BEGIN CERTIFICATE-----\nQUJD\n"),
                "no certificate",
            ),
            (file("not der", not_der), "no certificate"),
        ] {
            let problem = read(&path).unwrap_err();
            assert!(problem.starts_with("AWS_CA_BUNDLE names \""), "{problem}");
            assert!(problem.contains(why), "{problem}");
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
