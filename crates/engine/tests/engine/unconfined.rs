//! A system without Landlock, made by a filter that has the kernel answer as if it had none.

use tidegate_engine::{BiUser, Engine, StartError, can_confine};

use crate::client::{GRACE, ask, options};

/// From here on this thread, and what it starts, finds no Landlock in the kernel.
#[expect(unsafe_code, reason = "std and rustix install no seccomp filters")]
fn take_landlock_away() {
    const NUMBER_OF_CALL: u32 = 0;
    // These codes are defined for 16 bits, and the numbers of calls are small.
    let code = |code: u32| u16::try_from(code).unwrap();
    let create_ruleset = u32::try_from(libc::SYS_landlock_create_ruleset).unwrap();
    let absent = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).unwrap();
    let step = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut program = [
        step(code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), NUMBER_OF_CALL, 0),
        step(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), create_ruleset, 1),
        step(code(libc::BPF_RET | libc::BPF_K), absent, 0),
        step(code(libc::BPF_RET | libc::BPF_K), libc::SECCOMP_RET_ALLOW, 0),
    ];
    let program =
        libc::sock_fprog { len: u16::try_from(program.len()).unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: this option takes plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: the program lives through the call and has the stated length.
    let installed =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(installed, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn without_landlock_there_is_no_reader_and_the_owner_reads_files() {
    let folder = tempfile::tempdir().unwrap();
    let Some(options) = options(&folder.path().join("engine")) else { return };
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "open, sesame").unwrap();
    let without = std::thread::spawn(move || {
        take_landlock_away();
        assert!(!can_confine());
        // One thread, this one: others that exist already would have Landlock still.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut with_reader = options.clone();
            with_reader.users.bi = Some(BiUser { name: "bi".into() });
            let refused = Engine::start(with_reader).await.unwrap_err();
            assert!(matches!(refused, StartError::CannotConfine), "{refused}");
            let engine = Engine::start(options).await.unwrap();
            // What the product says of such a system is true; it is not a thing to be wished for.
            assert_eq!(ask(&engine, &format!("SELECT file('{}')", secret.display())), "open, sesame");
            engine.stop(GRACE).await.unwrap();
        });
    });
    without.join().unwrap();
    assert!(folder.path().exists());
}
