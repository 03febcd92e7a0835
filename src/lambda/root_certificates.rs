//! The root certificates that TLS trusts: those of AWS_CA_BUNDLE, else of the profile's `ca_bundle`, else those of SSL_CERT_FILE and
//! SSL_CERT_DIR, else the system's.
//!
//! Each HTTP client loads them with its first TLS connection. The files are large, so their certificates are cached in the process, and in
//! the processes that it forks, until a file changes.

use super::files::{self, LARGEST, Unreadable};
use aws_smithy_runtime_api::box_error::BoxError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::{load_certs_from_paths, load_native_certs};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio_rustls::TlsConnector;

/// A file that replaces the system's root certificates.
pub struct CaBundle {
    /// The variable or profile that names it.
    pub named_by: String,
    pub path: PathBuf,
}

/// The root certificates of an HTTP client, loaded when they are first needed.
pub struct TrustStore {
    bundle: Option<CaBundle>,
    connector: OnceLock<Result<TlsConnector, NoRootCertificates>>,
}

impl TrustStore {
    /// The certificates of the bundle, else of the system.
    pub fn new(bundle: Option<CaBundle>) -> TrustStore {
        TrustStore {
            bundle,
            connector: OnceLock::new(),
        }
    }

    /// The TLS connector. All connections share it, so that a later handshake can resume an earlier session.
    pub fn tls(&self) -> Result<TlsConnector, BoxError> {
        let connector = || {
            let roots = load(self.bundle.as_ref())?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| NoRootCertificates(error.to_string()))?;
            let mut config = config.with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        self.connector
            .get_or_init(connector)
            .clone()
            .map_err(Into::into)
    }

    /// Whether loading found no certificates.
    pub fn is_missing(&self) -> bool {
        matches!(self.connector.get(), Some(Err(_)))
    }
}

/// Loaded certificates, and the state of their files when they were loaded.
struct Cached {
    files: Vec<File>,
    roots: Arc<RootCertStore>,
}

/// The certificates that were loaded last.
static CACHE: Mutex<Option<Cached>> = Mutex::new(None);

fn cache() -> MutexGuard<'static, Option<Cached>> {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Empties the cache.
pub fn clear_cache() {
    drop(cache().take());
}

/// Fills the cache with the certificates that most clients need. A process does so before it forks, for its children.
pub fn preload() {
    let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let bundle = bundle.map(|path| CaBundle {
        named_by: "AWS_CA_BUNDLE".to_owned(),
        path: path.into(),
    });
    drop(load(bundle.as_ref()));
}

/// The certificates of a bundle or of the system, from the cache if the files are unchanged.
fn load(bundle: Option<&CaBundle>) -> Result<Arc<RootCertStore>, NoRootCertificates> {
    let files = match bundle {
        Some(bundle) => files_of([bundle.path.clone()]),
        None => files_of(system_paths()),
    };
    if let Some(cached) = &*cache()
        && cached.files == files
    {
        return Ok(cached.roots.clone());
    }
    let roots = Arc::new(read(bundle)?);
    *cache() = Some(Cached {
        files,
        roots: roots.clone(),
    });
    Ok(roots)
}

/// A file and its state, by which a change is noticed.
#[derive(PartialEq, Eq)]
struct File {
    path: PathBuf,
    /// Device, inode, size, and seconds and nanoseconds of the last change.
    state: Option<[i64; 5]>,
}

/// The state of files, and of the files in directories.
fn files_of(paths: impl IntoIterator<Item = PathBuf>) -> Vec<File> {
    let file = |path: PathBuf| {
        let state = std::fs::metadata(&path).ok().map(|metadata| {
            [
                metadata.dev().cast_signed(),
                metadata.ino().cast_signed(),
                metadata.size().cast_signed(),
                metadata.mtime(),
                metadata.mtime_nsec(),
            ]
        });
        File { path, state }
    };
    let mut files = Vec::new();
    for path in paths {
        let mut inside: Vec<PathBuf> = (std::fs::read_dir(&path).into_iter().flatten())
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        inside.sort_unstable();
        files.extend([path].into_iter().chain(inside).map(file));
    }
    files
}

/// The files and directories of the system's certificates.
fn system_paths() -> Vec<PathBuf> {
    let named = variable_paths();
    if !named.is_empty() {
        return named.into_iter().map(|(_, path)| path).collect();
    }
    let found = openssl_probe::probe();
    found.cert_file.into_iter().chain(found.cert_dir).collect()
}

/// Why there are no root certificates, in words for DETAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRootCertificates(pub String);

impl fmt::Display for NoRootCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRootCertificates {}

fn read(bundle: Option<&CaBundle>) -> Result<RootCertStore, NoRootCertificates> {
    let named: Vec<(&str, PathBuf)> = match bundle {
        Some(bundle) => vec![(&bundle.named_by, bundle.path.clone())],
        None => variable_paths(),
    };
    if named.is_empty() {
        return roots_of(load_native_certs().certs).ok_or_else(|| {
            NoRootCertificates(
                "the system has no store of certificates that can be read".to_owned(),
            )
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
    roots_of(found).ok_or_else(|| NoRootCertificates(problems.join("; ")))
}

/// A store of the certificates; `None` if none of them is a valid root.
fn roots_of(found: Vec<CertificateDer<'static>>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // The system may have certificates of a kind that rustls does not know.
    roots.add_parsable_certificates(found);
    (!roots.is_empty()).then_some(roots)
}

/// The files and directories that replace the system's store, by OpenSSL's variables.
fn variable_paths() -> Vec<(&'static str, PathBuf)> {
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
            Unreadable::NotRegular => "which is no file".to_owned(),
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
        let bundle = CaBundle {
            named_by: "AWS_CA_BUNDLE".to_owned(),
            path: path.into(),
        };
        match super::read(Some(&bundle)) {
            Ok(found) => Ok(found.len()),
            Err(NoRootCertificates(why)) => Err(why),
        }
    }

    #[test]
    fn a_changed_file_is_noticed() {
        let directory =
            std::env::temp_dir().join(format!("aws_lambda_fdw-roots-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let now = || files_of([directory.clone(), directory.join("one")]);
        let before = now();
        assert!(before == now() && before.len() == 2);
        std::fs::write(directory.join("one"), "1").unwrap();
        let written = now();
        assert!(before != written && written == now() && written.len() == 3);
        std::fs::write(directory.join("other"), "2").unwrap();
        std::fs::rename(directory.join("other"), directory.join("one")).unwrap();
        assert!(written != now());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn files_without_certificates() {
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
