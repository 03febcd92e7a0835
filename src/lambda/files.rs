//! Reads files in a backend's main thread, which can't be cancelled meanwhile. So a file that may block, such as a FIFO, or that has no end is
//! not read.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Largest size of a file. A system's root certificates take 0.2 MB.
pub const LARGEST: u64 = 16 << 20;

/// Why a file was not read.
#[derive(Debug)]
pub enum Unreadable {
    /// The system's error.
    System(io::Error),
    /// It is neither a regular file nor a directory.
    NotRegular,
    /// It is larger than [`LARGEST`].
    TooLarge,
}

/// Whether the path is neither a regular file nor a directory, so that reading it may block.
pub fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

/// Reads a regular file.
pub fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let metadata = std::fs::metadata(path).map_err(Unreadable::System)?;
    if metadata.is_dir() {
        return Err(Unreadable::System(ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        return Err(Unreadable::NotRegular);
    }
    let mut bytes = Vec::new();
    OpenOptions::new()
        .read(true)
        // Another file may have replaced it since.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(Unreadable::System)?;
    match bytes.len() as u64 > LARGEST {
        true => Err(Unreadable::TooLarge),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn regular_files_are_read() {
        let directory =
            std::env::temp_dir().join(format!("aws_lambda_fdw-files-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let [file, large, fifo] = ["file", "large", "fifo"].map(|name| directory.join(name));
        std::fs::write(&file, "words").unwrap();
        (std::fs::File::create(&large))
            .and_then(|large| large.set_len(LARGEST + 1))
            .unwrap();
        let name = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends in zero.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(is_special(&fifo) && !is_special(&file) && !is_special(&directory));
        assert_eq!(read(&file).unwrap(), b"words");
        assert!(matches!(read(&large), Err(Unreadable::TooLarge)));
        assert!(matches!(read(&fifo), Err(Unreadable::NotRegular)));
        assert!(matches!(
            read(Path::new("/dev/zero")),
            Err(Unreadable::NotRegular)
        ));
        let kind = |path: &Path| match read(path) {
            Err(Unreadable::System(error)) => Some(error.kind()),
            _ => None,
        };
        assert_eq!(kind(&directory), Some(ErrorKind::IsADirectory));
        assert_eq!(kind(&directory.join("missing")), Some(ErrorKind::NotFound));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
