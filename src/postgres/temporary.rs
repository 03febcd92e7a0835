//! A temporary file of PostgreSQL's (buffile.h). It counts for `temp_file_limit`, and PostgreSQL removes it with the query.

use super::memory_context::MemoryContext;
use crate::error::Error;
use crate::postgres::compat;
use pgrx::pg_sys;

/// A temporary file, which is created when it is first written to.
pub struct File {
    file: *mut pg_sys::BufFile,
    /// The query's memory context.
    context: MemoryContext<'static>,
    /// The query's resource owner, which lives as long as the query.
    owner: pg_sys::ResourceOwner,
    end: (i32, i64),
}

/// A position in a file.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    start: (i32, i64),
    /// Its bytes.
    pub length: usize,
}

impl File {
    /// A file of the query that is being initialised, whose memory context this is.
    pub fn new(context: MemoryContext<'static>) -> File {
        File {
            file: std::ptr::null_mut(),
            context,
            // SAFETY: reads a variable of the backend.
            owner: unsafe { pg_sys::CurrentResourceOwner },
            end: (0, 0),
        }
    }

    /// Adds to the file.
    pub fn write(&mut self, bytes: &[u8]) -> Place {
        if self.file.is_null() {
            self.file = self.context.switch_to(|| self.create());
        }
        let start = self.end;
        // SAFETY: the query runs, so the file is open.
        unsafe {
            pg_sys::BufFileSeek(self.file, start.0, start.1, libc::SEEK_SET);
            compat::write_file(self.file, bytes);
            pg_sys::BufFileTell(self.file, &mut self.end.0, &mut self.end.1);
        }
        Place {
            start,
            length: bytes.len(),
        }
    }

    /// Creates it for the query's resource owner, which is not that of a savepoint in which a cursor is read.
    fn create(&self) -> *mut pg_sys::BufFile {
        // SAFETY: the query runs, so its owner is there.
        unsafe {
            let owner = pg_sys::CurrentResourceOwner;
            pg_sys::CurrentResourceOwner = self.owner;
            let file = pg_sys::BufFileCreateTemp(false);
            pg_sys::CurrentResourceOwner = owner;
            file
        }
    }

    /// Reads what was written.
    pub fn read(&mut self, place: &Place) -> Result<Vec<u8>, Error> {
        const SHORT: Error = Error::Unexpected("temporary file is too short");
        if self.file.is_null() {
            return Err(SHORT);
        }
        let mut bytes = vec![0; place.length];
        // SAFETY: the query runs, so the file is open. The buffer has room for so many bytes.
        let read = unsafe {
            pg_sys::BufFileSeek(self.file, place.start.0, place.start.1, libc::SEEK_SET);
            pg_sys::BufFileRead(self.file, bytes.as_mut_ptr().cast(), bytes.len())
        };
        match read == bytes.len() {
            true => Ok(bytes),
            false => Err(SHORT),
        }
    }

    /// Closes it, while the query ends. After an error PostgreSQL does.
    pub fn close(&mut self) {
        if !self.file.is_null() {
            // SAFETY: the query ends, and nobody else has the file.
            unsafe { pg_sys::BufFileClose(self.file) };
            self.file = std::ptr::null_mut();
        }
    }
}
