//! A temporary file of PostgreSQL's (buffile.h). It counts for `temp_file_limit`, and PostgreSQL removes it with the query.

use crate::error::Error;
use crate::postgres::compat;
use pgrx::pg_sys;

/// A temporary file, which is created when it is first written to.
pub struct File {
    file: *mut pg_sys::BufFile,
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
    /// A file of the query that is being initialised.
    pub fn new() -> File {
        File {
            file: std::ptr::null_mut(),
            // SAFETY: reads a variable of the backend.
            owner: unsafe { pg_sys::CurrentResourceOwner },
            end: (0, 0),
        }
    }

    /// Adds to the file.
    ///
    /// # Safety
    /// The query runs, and `context` is its own.
    pub unsafe fn write(&mut self, bytes: &[u8], context: pg_sys::MemoryContext) -> Place {
        // SAFETY: the query runs, and the context is its own. The file belongs to the query's resource owner, and not to that of a savepoint in which a
        // cursor is read.
        unsafe {
            if self.file.is_null() {
                let (owner, before) = (
                    pg_sys::CurrentResourceOwner,
                    pg_sys::MemoryContextSwitchTo(context),
                );
                pg_sys::CurrentResourceOwner = self.owner;
                self.file = pg_sys::BufFileCreateTemp(false);
                pg_sys::CurrentResourceOwner = owner;
                pg_sys::MemoryContextSwitchTo(before);
            }
            let start = self.end;
            pg_sys::BufFileSeek(self.file, start.0, start.1, libc::SEEK_SET);
            compat::write_file(self.file, bytes);
            pg_sys::BufFileTell(self.file, &mut self.end.0, &mut self.end.1);
            Place {
                start,
                length: bytes.len(),
            }
        }
    }

    /// Reads what was written.
    ///
    /// # Safety
    /// The query runs.
    pub unsafe fn read(&mut self, place: &Place) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; place.length];
        // SAFETY: the query runs, so the file is open. The buffer has room for so many bytes.
        let read = unsafe {
            pg_sys::BufFileSeek(self.file, place.start.0, place.start.1, libc::SEEK_SET);
            pg_sys::BufFileRead(self.file, bytes.as_mut_ptr().cast(), bytes.len())
        };
        match read == bytes.len() {
            true => Ok(bytes),
            false => Err(Error::Unexpected("temporary file is too short")),
        }
    }

    /// Closes it. After an error PostgreSQL does.
    ///
    /// # Safety
    /// Called while the query ends.
    pub unsafe fn close(&mut self) {
        if !self.file.is_null() {
            // SAFETY: the query ends, and nobody else has the file.
            unsafe { pg_sys::BufFileClose(self.file) };
            self.file = std::ptr::null_mut();
        }
    }
}
