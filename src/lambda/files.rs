//! Files of the machine that are read in a backend's own thread, which hears of no cancel meanwhile. So what may have nobody at its other
//! end, such as a FIFO, or has no end, is not read.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Most bytes of one. All authorities that the world knows have 0.2 MB.
pub const LARGEST: u64 = 16 << 20;

/// Why one was not read.
#[derive(Debug)]
pub enum Unreadable {
    /// What the system says.
    System(io::Error),
    /// It is of another kind, and no directory.
    NoFile,
    /// It is larger than any that makes sense.
    TooLarge,
}

/// Whether there is something that [`read`] would not read, and others would for good.
pub fn is_endless(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// Reads one.
pub fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let about = std::fs::metadata(path).map_err(Unreadable::System)?;
    if about.is_dir() {
        return Err(Unreadable::System(ErrorKind::IsADirectory.into()));
    }
    if !about.is_file() {
        return Err(Unreadable::NoFile);
    }
    let mut bytes = Vec::new();
    OpenOptions::new()
        .read(true)
        // It may be another by now.
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
    fn what_is_read() {
        let directory =
            std::env::temp_dir().join(format!("aws_lambda_fdw-files-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let [file, large, fifo] = ["file", "large", "fifo"].map(|name| directory.join(name));
        std::fs::write(&file, "words").unwrap();
        (std::fs::File::create(&large))
            .and_then(|large| large.set_len(LARGEST + 1))
            .unwrap();
        let name = std::ffi::CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: a path with its end.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert!(is_endless(&fifo) && !is_endless(&file) && !is_endless(&directory));
        assert_eq!(read(&file).unwrap(), b"words");
        assert!(matches!(read(&large), Err(Unreadable::TooLarge)));
        assert!(matches!(read(&fifo), Err(Unreadable::NoFile)));
        assert!(matches!(
            read(Path::new("/dev/zero")),
            Err(Unreadable::NoFile)
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
