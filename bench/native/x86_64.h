/* The x86_64 page-table entry: bit positions, as in mm/x86_64.py. */
#ifndef X86_64_H
#define X86_64_H

#include <stdint.h>

#define BIT(number) (UINT64_C(1) << (number))

#define PAGE_PRESENT BIT(0)
#define PAGE_RW BIT(1)
#define PAGE_USER BIT(2)
#define PAGE_PWT BIT(3)
#define PAGE_PCD BIT(4)
#define PAGE_ACCESSED BIT(5)
#define PAGE_DIRTY BIT(6)
#define PAGE_PAT BIT(7)
#define PAGE_GLOBAL BIT(8) /* without PRESENT it is PROTNONE */
#define PAGE_SPECIAL BIT(9)
#define PAGE_UFFD BIT(10)
#define PAGE_SOFT_DIRTY BIT(11)
#define PTE_PFN_MASK UINT64_C(0x000FFFFFFFFFF000)
#define PAGE_UNNAMED UINT64_C(0x01F0000000000000)
#define PAGE_DEVMAP BIT(57) /* until 6.16 */
#define PAGE_SAVED_DIRTY BIT(58)
#define PAGE_PKEY_MASK UINT64_C(0x7800000000000000)
#define PAGE_NX BIT(63)

#define PFN_SHIFT 12
#define PKEY_SHIFT 59

#define PAGE_NONE (PAGE_ACCESSED | PAGE_GLOBAL)
#define PAGE_READONLY_EXEC (PAGE_PRESENT | PAGE_USER | PAGE_ACCESSED)
#define PAGE_READONLY (PAGE_READONLY_EXEC | PAGE_NX)
#define PAGE_SHARED_EXEC (PAGE_READONLY_EXEC | PAGE_RW)
#define PAGE_SHARED (PAGE_SHARED_EXEC | PAGE_NX)

/* Swap-like entries; the offset is stored inverted. */
#define SWP_SOFT_DIRTY BIT(1)
#define SWP_UFFD BIT(2)
#define SWP_EXCLUSIVE BIT(3)
#define SWP_TYPE_SHIFT 59
#define SWP_OFFSET_SHIFT 9
#define SWP_OFFSET_BITS 50
#define SWP_PFN_BITS 34
#define SWP_MIG_YOUNG BIT(34)
#define SWP_MIG_DIRTY BIT(35)

/* Payload of a marker. */
#define PTE_MARKER_UFFD_WP BIT(0)
#define PTE_MARKER_POISONED BIT(1)
#define PTE_MARKER_GUARD BIT(2)

#endif
