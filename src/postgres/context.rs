//! Lines of CONTEXT, which PostgreSQL asks for while it puts an error together (elog.h).

use super::text::for_server;
use pgrx::pg_sys;
use std::ffi::{CString, c_char, c_int, c_void};

unsafe extern "C-unwind" {
    /// Adds a line to the error that is being put together.
    pub fn errcontext_msg(format: *const c_char, ...) -> c_int;
}

struct Told<'a> {
    line: &'a dyn Fn() -> String,
    /// Here, so that nothing is left behind where PostgreSQL has no memory for a copy.
    text: CString,
}

/// Takes a line away again, however the work ends.
struct Pushed(*mut pg_sys::ErrorContextCallback);

impl Drop for Pushed {
    fn drop(&mut self) {
        // SAFETY: what was there before outlives this.
        unsafe { pg_sys::error_context_stack = self.0 };
    }
}

/// Works, and adds a line to PostgreSQL's own errors meanwhile.
pub fn with<T>(line: &dyn Fn() -> String, work: impl FnOnce() -> T) -> T {
    let mut told = Told {
        line,
        text: CString::default(),
    };
    // SAFETY: called in the backend's thread. The callback is taken away before this returns or unwinds.
    unsafe {
        let _pushed = Pushed(pg_sys::error_context_stack);
        let mut callback = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(tell),
            arg: (&raw mut told).cast(),
        };
        pg_sys::error_context_stack = &mut callback;
        work()
    }
}

unsafe extern "C-unwind" fn tell(told: *mut c_void) {
    // SAFETY: called while an error is put together, with what was pushed.
    unsafe {
        let told = &mut *told.cast::<Told>();
        told.text = for_server(&(told.line)());
        errcontext_msg(c"%s".as_ptr(), told.text.as_ptr());
    }
}
