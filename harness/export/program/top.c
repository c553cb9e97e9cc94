// SPDX-License-Identifier: MIT
/*
@HEAD@
 *
 * Each layout below is built with mmap(), madvise(), fork() and userfaultfd. Then the call of its
 * case is made, and each page of the range is written to: without a fault, with one, stopped by
 * userfaultfd, or refused. A child made by fork() keeps the old content of the pages that it
 * shares: whatever it sees change was written through a page that should have been copied.
 *
 *	cc -O2 -Wall -Wextra -Werror -o test THIS.c && ./test [-e]
 *
 * -e: enable the sizes of folios that are needed (root), and restore them in the end.
 * Output: TAP 13, a test for each layout. Exit: 0 pass, 1 fail, 4 skip (nothing could be tried).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE @PAGE@UL
#define ALIGNMENT (512 * PAGE)
#define MAX_PLACES 2048

struct folio {
	int first, pages;
};

struct layout {
	const char *name;
	/*
	 * Private anonymous memory, or a private mapping of a file in this directory; a memfd, or
	 * a file in this directory, both of them shared.
	 */
	enum { PRIVATE, PRIVATE_FILE, SHMEM, REGULAR } backing;
	int places; /* pages of the window */
	int start, end; /* the range of the call */
	int before, after; /* PROT_* of the range */
	/* mprotect(), or UFFDIO_WRITEPROTECT to protect or to resolve. */
	enum { MPROTECT, PROTECT, RESOLVE } call;
	int uffd; /* the window is registered with userfaultfd, for write protection */
	int unpopulated; /* with UFFD_FEATURE_WP_UNPOPULATED */
	const struct folio *larges; /* up to one of no pages */
	/* One letter for each page. */
	/* l of a large folio, s small, a anonymous over a file, z the zero page, '.' nothing */
	const char *pages;
	const char *exclusive; /* x: exclusive to this process */
	const char *clean; /* c: the entry is clean */
	const char *stops; /* u: userfaultfd protects it, before the call */
	const char *remains; /* u: the same after the call */
	/* A write must meet: w no fault, f a fault, ? either, u userfaultfd, - a refusal. */
	const char *expected;
};

static const struct layout layouts[] = {
@LAYOUTS@};

#define NR_LAYOUTS ((int)(sizeof(layouts) / sizeof(layouts[0])))

/* The layout of this process, the number of its test, and how often it may be tried again. */
static const struct layout *l;
static int number, tries_left;

#define AGAIN 5

static void __attribute__((noreturn, format(printf, 1, 2))) skip(const char *why, ...)
{
	va_list args;

	printf("ok %d %s # SKIP ", number, l->name);
	va_start(args, why);
	vprintf(why, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(4);
}

/*
 * One fault too many may be none of ours: a page is on its way elsewhere, a hypervisor lost sight
 * of it. What the kernel really does it does each time.
 */
static void try_again(void)
{
	if (!tries_left)
		return;
	printf("#   once more, there was a fault too many\n");
	fflush(stdout);
	_exit(AGAIN);
}

static void need(int done, const char *what)
{
	if (!done)
		skip("%s: %s", what, strerror(errno));
}
