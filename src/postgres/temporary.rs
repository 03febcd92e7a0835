//! A temporary file of PostgreSQL's (buffile.h). It counts for `temp_file_limit`, and PostgreSQL removes it with the query.

use super::memory_context::MemoryContext;
use super::process;
use super::refs::{Ref, calls};
use crate::error::Error;
use crate::postgres::compat;
use pgrx::pg_sys;

/// A temporary file, which is created when it is first written to.
pub struct File {
    file: Option<Ref<'static, pg_sys::BufFile>>,
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
            file: None,
            context,
            owner: process::resource_owner(),
            end: (0, 0),
        }
    }

    /// Adds to the file.
    pub fn write(&mut self, bytes: &[u8]) -> Place {
        let create = || self.context.switch_to(|| create_for(self.owner));
        let file = self.file.unwrap_or_else(create);
        self.file = Some(file);
        let start = self.end;
        seek(file, start.0, start.1, libc::SEEK_SET);
        compat::write_file(file, bytes);
        tell(file, &mut self.end.0, &mut self.end.1);
        Place {
            start,
            length: bytes.len(),
        }
    }

    /// Reads what was written.
    pub fn read(&mut self, place: &Place) -> Result<Vec<u8>, Error> {
        const SHORT: Error = Error::Unexpected("temporary file is too short");
        let file = self.file.ok_or(SHORT)?;
        let mut bytes = vec![0; place.length];
        seek(file, place.start.0, place.start.1, libc::SEEK_SET);
        // SAFETY: the query runs, so the file is open. The buffer has room for so many bytes.
        let read =
            unsafe { pg_sys::BufFileRead(file.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
        match read == bytes.len() {
            true => Ok(bytes),
            false => Err(SHORT),
        }
    }

    /// Closes it, while the query ends. After an error PostgreSQL does.
    pub fn close(&mut self) {
        if let Some(file) = self.file.take() {
            close(file);
        }
    }
}

/// Creates a file for a query's resource owner, which is not that of a savepoint in which a cursor is read.
fn create_for(query: pg_sys::ResourceOwner) -> Ref<'static, pg_sys::BufFile> {
    // SAFETY: the query runs, so its owner is there.
    unsafe {
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentResourceOwner = query;
        let file = pg_sys::BufFileCreateTemp(false);
        pg_sys::CurrentResourceOwner = owner;
        Ref::new(file)
    }
}

// The file is open as long as the query runs.
calls! {
    fn seek(file: Ref<pg_sys::BufFile>, segment: i32, position: i64, from: i32) -> i32 = BufFileSeek(file, segment, position, from);
    fn tell(file: Ref<pg_sys::BufFile>, segment: &mut i32, position: &mut i64) = BufFileTell(file, segment, position);
    fn close(file: Ref<pg_sys::BufFile>) = BufFileClose(file);
}
