#include "server/doctor.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "dwarf/go/buildinfo.h"
#include "dwarf/image.h"
#include "server/options.h"
#include "target/live/permit.h"

/* ---- what to paste ---- */

/* A capability, or Yama's setting, would do. The other reasons say themselves what to do. */
static bool helps_to_be_allowed(const struct permit_facts *f, int refusal)
{
	return refusal == -EPERM && !f->have_cap && !f->self && !f->kernel_thread && !f->tracer &&
	       f->elf_class != ELFCLASS32 && f->yama != 3;
}

static void print_ways(const struct permit_facts *f)
{
	printf("Any one of these lets it be traced:\n"
	       "  shell       sudo stopgo --attach localhost:2345 %d\n"
	       "  docker      docker run --cap-add=SYS_PTRACE ...\n"
	       "  Kubernetes  securityContext: { capabilities: { add: [\"SYS_PTRACE\"] } }\n"
	       "              kubectl debug -it POD --target=CONTAINER --profile=general "
	       "--image=IMAGE\n"
	       "  systemd     AmbientCapabilities=CAP_SYS_PTRACE\n",
	       f->pid);
	if (f->yama > 0)
		printf("  sysctl      sysctl -w kernel.yama.ptrace_scope=0\n");
}

/* ---- what is seen ---- */

static bool has_debug_info(const struct image *img)
{
	return image_section(img, ".debug_info") || image_section(img, ".zdebug_info");
}

static void print_go(const char *version, bool symbols, bool debug)
{
	printf("Go program of %s, %s\n", version,
	       debug     ? "with debug information"
	       : symbols ? "without debug information"
			 : "stripped");
	printf("  gdb, lldb   goroutines as threads; %s\n",
	       debug ? "functions, lines, variables"
		     : "functions and lines from the runtime's own table, no variables");
	printf("  Delve       %s\n",
	       debug ? "goroutines, functions, lines, variables"
		     : "refuses it, or shows functions only: it needs the debug information");
}

static void print_other(bool symbols, bool debug)
{
	printf("Program %s\n", debug     ? "with debug information"
			       : symbols ? "without debug information"
					 : "stripped");
	printf("  gdb, lldb   threads; %s\n", debug ? "functions, lines, variables"
					      : symbols
						      ? "functions by name, no lines, no variables"
						      : "names of what it exports, unless separate "
							"debug information is found");
}

static void print_sight(pid_t pid)
{
	_cleanup_(image_freep) struct image *img = NULL;
	struct go_buildinfo info = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (image_open(path, &img, NULL) < 0)
		return;
	bool symbols = image_has_symtab(img), debug = has_debug_info(img);
	if (go_buildinfo_read(img, &info) == 0 && info.version[0])
		print_go(info.version, symbols, debug);
	else
		print_other(symbols, debug);
	go_buildinfo_fini(&info);
}

int doctor_run(pid_t pid)
{
	struct permit_facts f;
	struct err err = { 0 };

	permit_look(pid, &f);
	int r = permit_judge(&f, &err);
	if (r < 0)
		printf("Process %d cannot be traced: %s\n", f.pid, err.text);
	else
		printf("Process %d (%s) can be traced: stopgo --attach localhost:2345 %d\n", f.pid,
		       f.name, f.pid);
	if (helps_to_be_allowed(&f, r))
		print_ways(&f);
	if (r != -ESRCH)
		print_sight(pid);
	return !r ? EXIT_ENDED : r == -ESRCH ? EXIT_NOT_FOUND : EXIT_NOT_PERMITTED;
}
