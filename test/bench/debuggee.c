/*
 * debuggee.c - the program that is debugged: bench_debuggee IDLE HITTERS.
 *
 * IDLE threads sleep in the kernel. HITTERS threads (the main one is the first) do the work that the shared page names; with none
 * the main thread sleeps, too.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "shared.h"

static struct shared *shared;
static volatile uint64_t watched;
static uint8_t memory[MEMORY_SIZE] __attribute__((aligned(4096)));

void to_sub(uint64_t n);
void to_push(uint64_t n);
void to_vector(uint64_t n);
void stretch(void);
extern char stretch_end[];

__asm__(".text\n"
	".globl to_sub, to_push, to_vector, stretch, stretch_end\n"
	".balign 64\n"
	"to_sub: sub $0x18, %rsp\n"
	"	add $0x18, %rsp\n"
	"	ret\n"
	".balign 64\n"
	"to_push: push %rbp\n"
	"	mov %rsp, %rbp\n"
	"	pop %rbp\n"
	"	ret\n"
	".balign 64\n"
	"to_vector: pxor %xmm0, %xmm0\n"
	"	ret\n"
	".balign 64\n"
	"stretch: mov $500, %ecx\n" /* STRETCH_ROUNDS */
	"1:	add $1, %eax\n"
	"	lea 1(%rdx), %rdx\n"
	"	dec %ecx\n"
	"	jnz 1b\n"
	"	ret\n"
	"stretch_end:\n"
	".balign 64\n"
	".skip 64, 0x90\n" /* room for a copy of to_vector: bare.c */
	".balign 64\n");

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static void spin(void)
{
	volatile uint64_t n = 0;
	while (shared->work == WORK_SPIN)
		n = n + 1;
}

static void work(size_t who)
{
	struct hitter *me = &shared->hitters[who];

	for (;;) {
		switch (shared->work) {
		case WORK_SLEEP: nap(); break;
		case WORK_SPIN: spin(); break;
		case WORK_SUB: to_sub(who); break;
		case WORK_PUSH: to_push(who); break;
		case WORK_VECTOR: to_vector(who); break;
		case WORK_STRETCH: stretch(); break;
		case WORK_WATCH: watched++; break;
		}
		me->count++;
	}
}

static void *idle(void *ctx)
{
	(void)ctx;
	__atomic_fetch_add(&shared->ready, 1, __ATOMIC_RELAXED);
	for (;;)
		pause();
	return NULL;
}

static void *hit(void *ctx)
{
	__atomic_fetch_add(&shared->ready, 1, __ATOMIC_RELAXED);
	work((size_t)ctx);
	return NULL;
}

static void start(void *(*run)(void *), size_t which)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 32 * 1024);
	if (pthread_create(&thread, &attr, run, (void *)which)) {
		perror("pthread_create");
		exit(1);
	}
	pthread_attr_destroy(&attr);
}

int main(int argc, char **argv)
{
	size_t idlers = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	size_t hitters = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	uint64_t seed = 88172645463325252u;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	if (shared == MAP_FAILED || hitters > HITTERS_MAX)
		return 1;
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* Like a program's data: half of it zero, the rest anything. */
	for (size_t i = 0; i < sizeof(memory); i += 8) {
		seed ^= seed << 13;
		seed ^= seed >> 7;
		seed ^= seed << 17;
		if (i & 64)
			memcpy(memory + i, &seed, 8);
	}
	shared->to_sub = (uint64_t)to_sub;
	shared->to_push = (uint64_t)to_push;
	shared->to_vector = (uint64_t)to_vector;
	shared->stretch = (uint64_t)stretch;
	shared->stretch_end = (uint64_t)stretch_end;
	shared->watched = (uint64_t)&watched;
	shared->memory = (uint64_t)memory;
	for (size_t i = 0; i < idlers; i++)
		start(idle, i);
	for (size_t i = 1; i < hitters; i++)
		start(hit, i);
	__atomic_fetch_add(&shared->ready, 1, __ATOMIC_RELEASE);
	if (hitters)
		work(0);
	for (;;)
		nap();
}
