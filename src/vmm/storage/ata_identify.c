/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What SATA disks and CD-ROMs say of themselves: IDENTIFY DEVICE (ACS-3 7.12), SMART data
 * (SFF-8035).
 */
#include "vmm/storage/ahci_internal.h"

static void put(uint8_t *data, unsigned word, unsigned value)
{
    store_le(data + 2 * (size_t)word, value, 2);
}

/* Text is in words, the first character in the upper half. */
static void put_text(uint8_t *data, unsigned word, unsigned len, const char *text)
{
    size_t given = strlen(text);
    for (unsigned i = 0; i < len; i++)
        data[2 * word + (i ^ 1)] = i < given ? (uint8_t)text[i] : ' ';
}

void ata_checksum(uint8_t data[512])
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 511; i++)
        sum = (uint8_t)(sum + data[i]);
    data[511] = (uint8_t)-sum;
}

static void put_common(const struct ahci_port *port, uint8_t data[512], const char *model)
{
    const struct drive *drive = &port->unit.drive;
    put_text(data, 10, 20, drive->serial ? drive->serial : drive->id);
    put_text(data, 23, 8, "1.0");
    put_text(data, 27, 40, model);
    put(data, 48, 1);      /* 32-bit transfers */
    put(data, 53, 0x0006); /* words 64 to 70 and 88 hold */
    put(data, 63, 0x0007); /* DMA modes, all of them */
    put(data, 64, 0x0003); /* PIO modes 3 and 4 */
    for (unsigned word = 65; word <= 68; word++)
        put(data, word, 120); /* ns */
    put(data, 78, 0);         /* nothing of serial ATA to be switched */
    put(data, 80, 0x01f0);    /* ATA/ATAPI-4 to ACS-2 */
    put(data, 88, 0x203f);    /* Ultra DMA 5 */
    put(data, 222, 0x1020);   /* serial transport, SATA 3.0 */
}

void ata_identify_disk(const struct ahci_port *port, uint8_t data[512])
{
    const struct drive *drive = &port->unit.drive;
    uint64_t sectors = drive_sectors(drive);
    uint64_t cylinders = MIN(sectors / (16u * 63), 16383u);
    bool cache = atomic_load(&drive->writeback);
    unsigned exponent = (unsigned)__builtin_ctz(port->unit.physical_block / DRIVE_SECTOR);
    memset(data, 0, 512);
    put_common(port, data, "KVASIR DISK");
    put(data, 0, 0x0040); /* a disk that stays where it is */
    put(data, 1, (unsigned)cylinders);
    put(data, 3, 16);
    put(data, 6, 63);
    put(data, 47, 0x8010); /* up to 16 sectors in a READ MULTIPLE */
    put(data, 49, 0x0b00); /* DMA, LBA, IORDY */
    put(data, 50, 0x4000);
    put(data, 53, 0x0007);
    put(data, 54, (unsigned)cylinders);
    put(data, 55, 16);
    put(data, 56, 63);
    store_le(data + 2 * 57, cylinders * 16 * 63, 4);
    if (port->multiple)
        put(data, 59, 0x0100u | port->multiple);
    store_le(data + 2 * 60, MIN(sectors, UINT64_C(0xfffffff)), 4);
    put(data, 69, 0);
    put(data, 75, AHCI_SLOTS - 1); /* queue depth */
    put(data, 76, 0x010e);         /* queued commands; 1.5, 3 and 6 Gb/s */
    put(data, 82, 0x4061);         /* NOP, look-ahead, write cache, SMART */
    put(data, 83, 0x7400);         /* FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses */
    put(data, 84, 0x4060);         /* general logs, WRITE DMA FUA EXT */
    put(data, 85, 0x4041u | (cache ? 0x20 : 0));
    put(data, 86, 0xb400 & ~0x8000u);
    put(data, 87, 0x4060);
    put(data, 93, 0);
    store_le(data + 2 * 100, sectors, 8);
    put(data, 106, exponent ? 0x6000u | exponent : 0x4000u);
    if (port->unit.can_discard) {
        put(data, 105, 8); /* sectors of ranges in one DATA SET MANAGEMENT */
        put(data, 169, 1);
    }
    put(data, 217, 1); /* nothing rotates */
    data[510] = 0xa5;
    ata_checksum(data);
}

void ata_identify_cdrom(const struct ahci_port *port, uint8_t data[512])
{
    memset(data, 0, 512);
    put_common(port, data, "KVASIR CD-ROM");
    put(data, 0, 0x85c0);  /* CD-ROM, removable, packets of 12 bytes, DRQ within 50 us */
    put(data, 49, 0x0b00); /* DMA, LBA, IORDY */
    put(data, 76, 0x000e);
    put(data, 82, 0x4210); /* NOP, DEVICE RESET, PACKET */
    put(data, 83, 0x4000);
    put(data, 84, 0x4000);
    put(data, 85, 0x4210);
    put(data, 87, 0x4000);
}

/* Attributes of a disk that is well: no test, no error ever, 0 hours. */
void ata_smart_data(const struct ahci_port *port, uint8_t data[512])
{
    static const uint8_t attributes[] = {0x05, 0x09, 0xc5, 0xc6}; /* reallocated, hours, pending */
    memset(data, 0, 512);
    data[0] = 0x10;
    for (unsigned i = 0; i < sizeof(attributes); i++) {
        uint8_t *attribute = data + 2 + 12 * (size_t)i;
        attribute[0] = attributes[i];
        attribute[1] = 0x02;
        attribute[3] = attribute[4] = 100;
    }
    data[368] = 0x03; /* SMART saves attributes */
    data[370] = 0x00;
    ata_checksum(data);
}
