//! Lines of CONTEXT, which PostgreSQL asks for while it puts an error together (elog.h).

use super::text::for_server;
use pgrx::pg_sys;
use std::ffi::{CStr, CString, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    /// Adds a line to the error that is being put together.
    fn errcontext_msg(format: *const c_char, ...) -> c_int;
}

struct Line<'a> {
    write: &'a dyn Fn() -> String,
    /// The text is here, so that Rust frees it where PostgreSQL has no memory for a copy.
    text: Option<CString>,
}

/// Takes the callback away again, however the work ends.
struct Pushed(*mut pg_sys::ErrorContextCallback);

impl Drop for Pushed {
    fn drop(&mut self) {
        // SAFETY: the callback that was there before outlives this one.
        unsafe { pg_sys::error_context_stack = self.0 };
    }
}

/// Works, and adds a line to errors that PostgreSQL raises meanwhile.
pub fn with<T>(line: &dyn Fn() -> String, work: impl FnOnce() -> T) -> T {
    let mut line = Line {
        write: line,
        text: None,
    };
    // SAFETY: called in the backend's thread. The callback is taken away before this returns or unwinds.
    unsafe {
        let _pushed = Pushed(pg_sys::error_context_stack);
        let mut callback = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(add_line),
            arg: (&raw mut line).cast(),
        };
        pg_sys::error_context_stack = &mut callback;
        work()
    }
}

/// Works, and adds a line to errors that PostgreSQL raises meanwhile. These may jump over this function, which has nothing to drop.
pub fn with_line<T: Copy>(line: &'static CStr, work: impl FnOnce() -> T + Copy) -> T {
    // SAFETY: called in the backend's thread. The callback is taken away before this returns, or by PostgreSQL where an error jumps over it.
    unsafe {
        let mut callback = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(add_static_line),
            arg: line.as_ptr().cast_mut().cast(),
        };
        pg_sys::error_context_stack = &mut callback;
        let result = work();
        pg_sys::error_context_stack = callback.previous;
        result
    }
}

unsafe extern "C-unwind" fn add_static_line(line: *mut c_void) {
    // SAFETY: PostgreSQL calls this while it puts an error together, with the line that `with_line` has pushed.
    unsafe { errcontext_msg(c"%s".as_ptr(), line.cast::<c_char>()) };
}

unsafe extern "C-unwind" fn add_line(line: *mut c_void) {
    // SAFETY: PostgreSQL calls this while it puts an error together, with the argument that `with` has pushed.
    unsafe {
        let line = &mut *line.cast::<Line>();
        let text = line.text.insert(for_server(&(line.write)()));
        errcontext_msg(c"%s".as_ptr(), text.as_ptr());
    }
}
