/*
 * doctor.h - stopgo doctor PID: may this user trace it, what to paste if not, and what each client will see of it.
 *
 * Looks, and touches nothing: the process does not stop. Everything goes to standard output.
 */
#ifndef STOPGO_DOCTOR_H
#define STOPGO_DOCTOR_H

#include <sys/types.h>

/* The exit status: that of attaching. */
int doctor_run(pid_t pid);

#endif
