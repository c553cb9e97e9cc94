
/* The layout. */

static void build_private(void)
{
	const struct folio *f;
	int i;

	/* One page gives the whole VMA its anon_vma, so that its parts are merged again. */
	fill(0);
	advise(0, 1, MADV_DONTNEED, "MADV_DONTNEED");
	for (f = l->larges; f->pages; f++) {
		/* Advised alone, so that no larger folio fits; one fault must map all of it. */
		advise(f->first, f->pages, MADV_HUGEPAGE, "MADV_HUGEPAGE");
		fill(f->first);
		for (i = f->first; i < f->first + f->pages; i++)
			if (poke(i, content(i))) {
				try_again();
				skip("no folio of %d pages was to be had", f->pages);
			}
		advise(f->first, f->pages, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE");
	}
	for (i = 0; i < l->places; i++) {
		if (l->pages[i] == 'l')
			continue;
		advise(i, 1, MADV_DONTNEED, "MADV_DONTNEED");
		if (l->pages[i] == 's')
			fill(i);
		else if (l->pages[i] == 'z')
			peek(i);
	}
	if (!strchr(l->clean, 'c'))
		return;
	/* Whole folios: a part of one would be split off. */
	advise(0, l->places, MADV_FREE, "MADV_FREE");
	for (i = 0; i < l->places; i++) {
		if (l->pages[i] == '.' || l->pages[i] == 'z')
			continue;
		if (l->clean[i] == 'c')
			peek(i);
		else
			fill(i);
	}
}

/* A folio of the page cache, which takes them as large as a write. */
static void write_folio(int first, int pages)
{
	static char bytes[512 * PAGE];
	int i;

	for (i = 0; i < pages; i++)
		bytes[i * PAGE] = content(first + i);
	need(pwrite(fd, bytes, pages * PAGE, first * PAGE) == (ssize_t)(pages * PAGE), "write");
}

/* What a fault would bring in could be larger. */
static void write_folios(void)
{
	const struct folio *f;
	int i;

	for (f = l->larges; f->pages; f++)
		write_folio(f->first, f->pages);
	for (i = 0; i < l->places; i++)
		if (l->pages[i] == 's')
			write_folio(i, 1);
}

static void build_private_file(void)
{
	int i;

	write_folios();
	for (i = 0; i < l->places; i++) {
		if (l->pages[i] == 'a')
			fill(i);
		else if (l->pages[i] != '.')
			peek(i);
	}
	/* A fault maps what is around it, too. */
	for (i = 0; i < l->places; i++)
		if (l->pages[i] == '.')
			advise(i, 1, MADV_DONTNEED, "MADV_DONTNEED");
}

/* A clean entry is one that was written back. */
static void build_regular(void)
{
	int i;

	write_folios();
	for (i = 0; i < l->places; i++)
		if (l->pages[i] != '.')
			fill(i);
	poke(l->places, 1);
	need(fsync(fd) == 0, "fsync");
	if (poke(l->places, 1) == 0)
		skip("the file system of this directory does not ask for first writes");
	for (i = 0; i < l->places; i++)
		if (l->pages[i] != '.' && l->clean[i] != 'c')
			fill(i);
}

/* The folios stay when the window is emptied; then each page is mapped by a touch. */
static void build_shmem(void)
{
	unsigned char resident[MAX_PLACES];
	const struct folio *f;
	int i;

	for (f = l->larges; f->pages; f++) {
		advise(f->first, f->pages, MADV_HUGEPAGE, "MADV_HUGEPAGE");
		fill(f->first);
		need(mincore(base + f->first * PAGE, f->pages * PAGE, resident) == 0, "mincore");
		for (i = 0; i < f->pages; i++)
			if (!(resident[i] & 1))
				skip("no folio of %d pages was to be had", f->pages);
		advise(f->first, f->pages, MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE");
	}
	for (i = 0; i < l->places; i++)
		if (l->pages[i] != '.')
			fill(i);
	advise(0, l->places, MADV_DONTNEED, "MADV_DONTNEED");
	/* Registered, each touch maps its own page only. */
	if (l->uffd)
		register_uffd();
	for (i = 0; i < l->places; i++) {
		if (l->pages[i] == '.')
			continue;
		if (l->clean[i] == 'c')
			peek(i);
		else
			fill(i);
	}
	for (i = 0; i < l->places && !l->uffd; i++)
		if (l->pages[i] == '.')
			advise(i, 1, MADV_DONTNEED, "MADV_DONTNEED");
}

/* What the child does: wait for the end of a pipe, then look at what it shares. */
static int child_sees(int end)
{
	char byte;
	int i, changed_pages = 0;

	if (read(end, &byte, 1) != 1)
		return 2;
	for (i = 0; i < l->places; i++) {
		if (l->pages[i] == '.' || l->exclusive[i] == 'x' || peek(i) == content(i))
			continue;
		printf("#   the child sees page %d change\n", i);
		changed_pages++;
	}
	fflush(stdout);
	return changed_pages != 0;
}

/* Pages that a fork leaves out stay exclusive; the others are shared with the child. */
static pid_t share(int *wake)
{
	int ends[2], i;
	pid_t child;

	need(pipe(ends) == 0, "pipe");
	for (i = 0; i < l->places; i++)
		if (l->exclusive[i] == 'x')
			advise(i, 1, MADV_DONTFORK, "MADV_DONTFORK");
	fflush(stdout);
	child = fork();
	need(child >= 0, "fork");
	if (!child) {
		close(ends[1]);
		_exit(child_sees(ends[0]));
	}
	advise(0, l->places, MADV_DOFORK, "MADV_DOFORK");
	close(ends[0]);
	*wake = ends[1];
	return child;
}
