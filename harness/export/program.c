// SPDX-License-Identifier: MIT
/*
@HEAD@
 *
 * Builds the layout of the case, calls mprotect(), and looks which pages are written without a
 * fault. A child made by fork() keeps the old content of the pages that it shares: whatever it
 * sees change was written through a page that should have been copied.
 *
 *	cc -O2 -Wall -Wextra -Werror -o case case.c && ./case [-e]
 *
 * -e: enable the sizes of folios that are needed (root), and restore them in the end.
 * Exit: 0 pass, 1 fail, 4 skip.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE @PAGE@UL
#define PLACES @PLACES@
#define ALIGNMENT (512 * PAGE)

struct large {
	int first, pages;
};

static const struct large larges[] = { @LARGES@{ 0, 0 } };
/* By place: l page of a large folio, s small page, z zero page, '.' nothing. */
static const char layout[] = "@LAYOUT@";
/* x: the page is exclusive to this process. */
static const char exclusive[] = "@EXCLUSIVE@";
/* c: the entry is clean. */
static const char clean[] = "@CLEAN@";
/* A write must meet: w no fault, f a fault that copies, ? either, - a refusal. */
static const char expected[] = "@EXPECTED@";

static char *base;
static struct {
	char path[128], old[16];
} settings[16];
static int nr_settings, enable;

static void restore(void)
{
	while (nr_settings--) {
		FILE *file = fopen(settings[nr_settings].path, "w");

		if (file) {
			fputs(settings[nr_settings].old, file);
			fclose(file);
		}
	}
	nr_settings = 0;
}

static void __attribute__((noreturn, format(printf, 1, 2))) skip(const char *why, ...)
{
	va_list args;

	printf("1..0 # SKIP ");
	va_start(args, why);
	vprintf(why, args);
	va_end(args);
	printf("\n");
	exit(4);
}

static void need(int done, const char *what)
{
	if (!done)
		skip("%s: %s", what, strerror(errno));
}

/* Let the kernel make folios of so many pages where that is advised. */
static void enable_size(int pages)
{
	char path[128], text[128] = "", *from, *to;
	FILE *file;
	int fits;

	snprintf(path, sizeof(path), "/sys/kernel/mm/transparent_hugepage/hugepages-%lukB/enabled",
		 pages * PAGE / 1024);
	file = fopen(path, "r");
	if (!file || !fgets(text, sizeof(text), file))
		skip("this kernel has no folios of %d pages: %s", pages, path);
	fclose(file);
	if (strstr(text, "[madvise]") || strstr(text, "[always]"))
		return;
	from = strchr(text, '[');
	to = strchr(text, ']');
	if (!enable || !from || !to)
		skip("%s must be madvise; -e sets it", path);
	*to = 0;
	file = fopen(path, "w");
	if (!file)
		skip("%s cannot be set: %s", path, strerror(errno));
	snprintf(settings[nr_settings].path, sizeof(path), "%s", path);
	snprintf(settings[nr_settings++].old, sizeof(settings[0].old), "%.15s", from + 1);
	fits = fputs("madvise", file) >= 0;
	need(fclose(file) == 0 && fits, path);
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_minflt;
}

/* Write one byte; the faults that it took. */
static long poke(int place, char value)
{
	long before = faults();

	*(volatile char *)(base + place * PAGE) = value;
	return faults() - before;
}

static char peek(int place)
{
	return *(volatile char *)(base + place * PAGE);
}

static char content(int place)
{
	return layout[place] == 'z' ? 0 : 1 + place % 100;
}

static void advise(int first, int pages, int advice, const char *what)
{
	need(madvise(base + first * PAGE, pages * PAGE, advice) == 0, what);
}

static void map_window(void)
{
	unsigned long size = PLACES * PAGE;
	char *room = mmap(NULL, size + 2 * ALIGNMENT, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(room != MAP_FAILED, "mmap");
	base = (char *)(((unsigned long)room + ALIGNMENT) & -ALIGNMENT);
	need(mmap(base, size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap");
	advise(0, PLACES, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE");
	/* One page gives the whole VMA its anon_vma, so that its parts are merged again. */
	poke(0, 1);
	advise(0, 1, MADV_DONTNEED, "MADV_DONTNEED");
}

static void build(void)
{
	const struct large *l;
	int i;

	for (l = larges; l->pages; l++) {
		/* Advised alone, so that no larger folio fits; one fault must map all of it. */
		advise(l->first, l->pages, MADV_HUGEPAGE, "MADV_HUGEPAGE");
		poke(l->first, content(l->first));
		for (i = l->first; i < l->first + l->pages; i++)
			if (poke(i, content(i)))
				skip("no folio of %d pages was to be had", l->pages);
		advise(l->first, l->pages, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE");
	}
	for (i = 0; i < PLACES; i++) {
		if (layout[i] == 'l')
			continue;
		advise(i, 1, MADV_DONTNEED, "MADV_DONTNEED");
		if (layout[i] == 's')
			poke(i, content(i));
		else if (layout[i] == 'z')
			peek(i);
	}
	if (strchr(clean, 'c')) {
		/* Whole folios: a part of one would be split off. */
		advise(0, PLACES, MADV_FREE, "MADV_FREE");
		for (i = 0; i < PLACES; i++) {
			if (layout[i] == '.' || layout[i] == 'z')
				continue;
			if (clean[i] == 'c')
				peek(i);
			else
				poke(i, content(i));
		}
	}
}

/* What the child does: wait for the end of a pipe, then look at what it shares. */
static int child_sees(int fd)
{
	char byte;
	int i;

	if (read(fd, &byte, 1) != 1)
		return 2;
	for (i = 0; i < PLACES; i++)
		if (layout[i] != '.' && exclusive[i] != 'x' && peek(i) != content(i))
			return 1;
	return 0;
}

/* Pages that a fork leaves out stay exclusive; the others are shared with the child. */
static pid_t share(int *wake)
{
	int ends[2], i;
	pid_t child;

	need(pipe(ends) == 0, "pipe");
	for (i = 0; i < PLACES; i++)
		if (exclusive[i] == 'x')
			advise(i, 1, MADV_DONTFORK, "MADV_DONTFORK");
	fflush(stdout);
	child = fork();
	need(child >= 0, "fork");
	if (!child) {
		close(ends[1]);
		_exit(child_sees(ends[0]));
	}
	advise(0, PLACES, MADV_DOFORK, "MADV_DOFORK");
	close(ends[0]);
	*wake = ends[1];
	return child;
}

/* Whether a write is refused: the kernel itself writes, so that no signal comes. */
static int is_denied(int place)
{
	int ends[2], denied;

	need(pipe(ends) == 0 && write(ends[1], "!", 1) == 1, "pipe");
	denied = read(ends[0], base + place * PAGE, 1) < 0 && errno == EFAULT;
	close(ends[0]);
	close(ends[1]);
	return denied;
}

static int nr_tests, failed;

static void result(int ok, const char *what, int place, const char *seen)
{
	printf("%sok %d %s", ok ? "" : "not ", ++nr_tests, what);
	if (place >= 0)
		printf(" %d", place);
	printf("%s%s\n", *seen ? ": " : "", seen);
	failed |= !ok;
}

static void look(int place)
{
	long took;
	int ok;

	if (expected[place] == '-') {
		ok = is_denied(place);
		result(ok, "page", place, ok ? "write refused" : "written without the right to");
		return;
	}
	took = poke(place, 101);
	ok = expected[place] == '?' || (took != 0) == (expected[place] == 'f');
	result(ok, "page", place, took ? "written with a fault" : "written without a fault");
}

int main(int argc, char **argv)
{
	int i, wake = -1, status = 0, nr = 1;
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	enable = argc > 1 && !strcmp(argv[1], "-e");
	printf("TAP version 13\n");
	if (sysconf(_SC_PAGESIZE) != (long)PAGE)
		skip("pages must have %lu bytes", PAGE);
	atexit(restore);
	for (i = 0; larges[i].pages; i++)
		enable_size(larges[i].pages);
	map_window();
	build();
	child = share(&wake);
	need(mprotect(base + @START@ * PAGE, (@END@ - @START@) * PAGE, @BEFORE@) == 0, "mprotect");

	/* The call of the case. */
	need(mprotect(base + @START@ * PAGE, (@END@ - @START@) * PAGE, @AFTER@) == 0, "mprotect");

	for (i = 0; i < PLACES; i++)
		nr += expected[i] != '.';
	printf("1..%d\n", nr);
	for (i = 0; i < PLACES; i++)
		if (expected[i] != '.')
			look(i);
	need(write(wake, "!", 1) == 1 && waitpid(child, &status, 0) == child, "the child");
	result(WIFEXITED(status) && !WEXITSTATUS(status), "the child sees the old content", -1, "");
	return failed;
}
