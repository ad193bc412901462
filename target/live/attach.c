#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "target/live/guard.h"
#include "target/live/live_target.h"
#include "target/live/task.h"

/* Seizes what /proc lists and is not ours yet; how many were new, or -errno of the first refusal. */
static int seize_pass(struct proc *p, struct err *err)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task", p->base.pid);
	DIR *dir = opendir(path);
	if (!dir)
		return err_set(err, errno == ENOENT ? -ESRCH : -errno,
			       "cannot list the threads of process %d: %s", p->base.pid,
			       strerror(errno));

	int fresh = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		pid_t tid = (pid_t)atoi(entry->d_name);
		if (tid <= 0 || task_find(p->live, tid))
			continue;
		int r = pt_seize(tid, false);
		if (r == -ESRCH)
			continue; /* ended between the listing and now */
		if (r == -EPERM && tid != p->base.pid) {
			/* A thread that is exiting cannot be traced any more; one that lives would still be there. */
			char state = proc_state(p->base.pid, tid);
			if (state == 'Z' || state == 'X' || state == 0)
				continue;
			/* Seized already as the clone of a thread seized before, its event not read yet. */
			struct task *task = task_add(p, tid, TASK_NEW);
			if (task) {
				task_set_resumed(task, true);
				fresh++;
				continue;
			}
			r = -ENOMEM;
		}
		if (r < 0) {
			closedir(dir);
			return err_set(err, r, "cannot trace thread %d of process %d: %s", tid,
				       p->base.pid, strerror(-r));
		}
		struct task *task = task_add(p, tid, TASK_RUNNING);
		if (!task) {
			closedir(dir);
			return err_set(err, -ENOMEM, "no memory to attach to process %d",
				       p->base.pid);
		}
		task_set_resumed(task, true);
		fresh++;
	}
	closedir(dir);
	return fresh;
}

int live_attach(struct tracer *tr, pid_t pid, struct target **ret, struct err *err)
{
	struct live *live = live_of(tr);

	for (struct proc *other = live->procs; other; other = other->next) {
		if (other->base.pid == pid)
			return err_set(err, -EBUSY, "process %d is being debugged already", pid);
	}
	int guard = live->unguarded ? 0 : guard_start();
	if (guard < 0)
		log_debug(LOG_RUN, "no guard: %s; going on without", strerror(-guard));
	struct proc *p = proc_new(live, pid, false);
	if (!p)
		return err_set(err, -ENOMEM, "no memory to attach to process %d", pid);
	p->base.ops = &live_target_ops;
	p->space = space_new(pid);

	/* Threads seized report the threads they make, so two passes that find nobody new have found everybody. */
	int r = p->space ? 0 : err_set(err, -ENOMEM, "no memory to attach to process %d", pid);
	for (int quiet = 0; r >= 0 && quiet < 2;) {
		r = seize_pass(p, err);
		quiet = r == 0 ? quiet + 1 : 0;
	}
	if (r >= 0 && !p->count)
		r = err_set(err, -ESRCH,
			    "process %d has no thread that can be traced: it has just ended", pid);
	if (r < 0) {
		live_halt(live, p);
		proc_let_go(p);
		proc_free(p);
		return r;
	}
	if (p->space->memfd < 0) { /* opened before we were allowed to */
		r = space_reopen(p->space, pid);
		if (r < 0) {
			live_halt(live, p);
			proc_let_go(p);
			proc_free(p);
			return err_set(err, r, "cannot open the memory of process %d: %s", pid,
				       strerror(-r));
		}
	}
	*ret = &p->base;
	return 0;
}
