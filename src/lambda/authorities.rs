//! Which authorities are trusted to say who an endpoint is: those of AWS_CA_BUNDLE, else of the profile's `ca_bundle`, else the
//! system's, for which SSL_CERT_FILE and SSL_CERT_DIR can stand.
//!
//! Each HTTP client looks when it first wants TLS. The files are large, so what was read of them is kept for the process, and for those that it
//! forks, as long as they are the same.

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

/// A file that stands for the system's authorities.
pub struct Bundle {
    /// What names it.
    pub named_by: String,
    pub path: PathBuf,
}

/// What a client trusts, which is read when it is first wanted.
pub struct Trust {
    bundle: Option<Bundle>,
    read: OnceLock<Result<TlsConnector, NoAuthority>>,
}

impl Trust {
    /// The authorities of the bundle, or of the system.
    pub fn new(bundle: Option<Bundle>) -> Trust {
        Trust {
            bundle,
            read: OnceLock::new(),
        }
    }

    /// What speaks TLS with whom they know. All connections share it, so that a later handshake can resume what an earlier one began.
    pub fn tls(&self) -> Result<TlsConnector, BoxError> {
        let connector = || {
            let roots = authorities(self.bundle.as_ref())?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| NoAuthority(error.to_string()))?;
            let mut config = config.with_root_certificates(roots).with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(TlsConnector::from(Arc::new(config)))
        };
        self.read.get_or_init(connector).clone().map_err(Into::into)
    }

    /// Whether there turned out to be none.
    pub fn is_missing(&self) -> bool {
        matches!(self.read.get(), Some(Err(_)))
    }
}

/// Authorities that were read, and the files that they were read from as they were then.
struct Known {
    files: Vec<File>,
    roots: Arc<RootCertStore>,
}

/// The last that were read.
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

fn known() -> MutexGuard<'static, Option<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has files read again.
pub fn forget() {
    drop(known().take());
}

/// Reads what most clients will want. A process whose children are to have it does so before it forks.
pub fn read_ahead() {
    let bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty());
    let bundle = bundle.map(|path| Bundle {
        named_by: "AWS_CA_BUNDLE".to_owned(),
        path: path.into(),
    });
    drop(authorities(bundle.as_ref()));
}

/// The authorities of a bundle or of the system.
fn authorities(bundle: Option<&Bundle>) -> Result<Arc<RootCertStore>, NoAuthority> {
    let files = match bundle {
        Some(bundle) => files_of([bundle.path.clone()]),
        None => files_of(paths_of_the_system()),
    };
    if let Some(known) = &*known()
        && known.files == files
    {
        return Ok(known.roots.clone());
    }
    let roots = Arc::new(read(bundle)?);
    *known() = Some(Known {
        files,
        roots: roots.clone(),
    });
    Ok(roots)
}

/// A file, and what tells that it is another.
#[derive(PartialEq, Eq)]
struct File {
    path: PathBuf,
    /// Device, number, size, and seconds and nanoseconds of the last change.
    is: Option<[i64; 5]>,
}

/// Files, and what is in directories.
fn files_of(paths: impl IntoIterator<Item = PathBuf>) -> Vec<File> {
    let file = |path: PathBuf| {
        let is = std::fs::metadata(&path).ok().map(|about| {
            [
                about.dev().cast_signed(),
                about.ino().cast_signed(),
                about.size().cast_signed(),
                about.mtime(),
                about.mtime_nsec(),
            ]
        });
        File { path, is }
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

/// Where the system has its authorities.
fn paths_of_the_system() -> Vec<PathBuf> {
    let named = named_for_the_system();
    if !named.is_empty() {
        return named.into_iter().map(|(_, path)| path).collect();
    }
    let found = openssl_probe::probe();
    found.cert_file.into_iter().chain(found.cert_dir).collect()
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

fn read(bundle: Option<&Bundle>) -> Result<RootCertStore, NoAuthority> {
    let named: Vec<(&str, PathBuf)> = match bundle {
        Some(bundle) => vec![(&bundle.named_by, bundle.path.clone())],
        None => named_for_the_system(),
    };
    if named.is_empty() {
        return roots_of(load_native_certs().certs).ok_or_else(|| {
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
    roots_of(found).ok_or_else(|| NoAuthority(problems.join("; ")))
}

/// `None` if none of them is one.
fn roots_of(found: Vec<CertificateDer<'static>>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Some of a system's may be of a kind that is not known here.
    roots.add_parsable_certificates(found);
    (!roots.is_empty()).then_some(roots)
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
        match super::read(Some(&bundle)) {
            Ok(found) => Ok(found.len()),
            Err(NoAuthority(why)) => Err(why),
        }
    }

    #[test]
    fn a_file_that_is_another() {
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
