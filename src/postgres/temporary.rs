//! A temporary file of PostgreSQL's (buffile.h), which counts for `temp_file_limit` and goes with the query.

use crate::error::Error;
use crate::postgres::compat;
use pgrx::pg_sys;

/// A temporary file, which is made when it is first written to.
pub struct File {
    file: *mut pg_sys::BufFile,
    /// The one that a query has, which lives as long as that.
    owner: pg_sys::ResourceOwner,
    end: (i32, i64),
}

/// A place in a file.
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
        // SAFETY: see above. A file of a cursor's is not that of a savepoint's in which it is read.
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
        // SAFETY: see above; there is room for so many bytes.
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
            // SAFETY: see above.
            unsafe { pg_sys::BufFileClose(self.file) };
            self.file = std::ptr::null_mut();
        }
    }
}
